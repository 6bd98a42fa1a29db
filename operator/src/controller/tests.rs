use super::bench::Bench;
use super::*;

fn owner() -> Owner {
    validate::tests::validated().owner
}

#[tokio::test]
async fn a_bot_that_others_keep_writing_waits_longer_each_time_and_is_not_taken_for_failing() {
    let mut bench = Bench::new();
    let bot = bench.show(|_| {});
    let (uid, context) = (owner().uid, &bench.context);
    let wait = || {
        wait_after(Arc::clone(&bot), &Failure::Outdated, Arc::clone(context));
        context.causes.rest(&BotRef::from_obj(&*bot)).unwrap()
    };
    let first = wait();
    assert!(first <= Duration::from_millis(120), "{first:?}");
    tokio::time::sleep(first + Duration::from_millis(5)).await;
    let second = wait();
    assert!(second > Duration::from_millis(150), "{second:?}");
    assert_eq!((context.outdated.failures(&uid), context.backoff.failures(&uid)), (2, 0));
}
