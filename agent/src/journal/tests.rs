//! What both stores have to do: one writer, no append of an old holder, nothing lost and nothing doubled when an
//! answer is lost, schemas forth and back.

use engine::{BotId, Event, EventKind};
use jiff::Timestamp;
use lab::postgres::Stop;
use sqlx::Connection;
use sqlx::migrate::Migrate;

use super::*;
use crate::fixtures::{Site, config, handled, identity, view};

async fn open(site: &Site) -> (Journal, Recovered) {
    Journal::open(&site.place, &identity(), Some(&config())).await.unwrap()
}

/// An entry that can be told from others by its second.
fn timer(engine: &mut Engine, second: i64) -> Entry {
    let at = Timestamp::from_second(1_577_836_800 + second).unwrap();
    handled(engine, Event { at, kind: EventKind::Timer })
}

#[tokio::test]
async fn a_second_writer_is_told_who_holds_the_journal_until_it_is_let_go() {
    for site in Site::each() {
        let (journal, _) = open(&site).await;
        let error = Journal::open(&site.place, &identity(), None).await.unwrap_err();
        assert_eq!(error.reason(), "JournalLocked");
        let message = error.to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        assert!(message.contains(&site.place.to_string()), "{message}");
        // Readers do not mind.
        Reader::open(&site.place).await.unwrap().close().await;
        journal.close().await.unwrap();
        open(&site).await;
    }
}

#[tokio::test]
async fn an_old_holder_cannot_append_whatever_became_of_its_lock() {
    for site in Site::each() {
        let (mut old, mut recovered) = open(&site).await;
        let entry = timer(&mut recovered.engine, 0);
        let view = view(&recovered.engine);
        old.append(std::slice::from_ref(&entry), &recovered.engine, &view, None).await.unwrap();
        // As another holder does it that was let in by mistake.
        site.tamper("UPDATE meta SET value = '2' WHERE key = 'epoch'").await;
        let error =
            old.append(std::slice::from_ref(&entry), &recovered.engine, &view, None).await.unwrap_err();
        assert_eq!((error.reason(), error.may_pass()), ("JournalFenced", false));
        assert!(error.to_string().contains("epoch 2, this one has 1"), "{error}");
        let error = old.snapshot(&recovered.engine).await.unwrap_err();
        assert_eq!(error.reason(), "JournalFenced");
        drop(old);
        let (new, recovered) = open(&site).await;
        assert_eq!((new.last_seq(), new.epoch, recovered.replayed), (1, 3, 1));
    }
}

#[tokio::test]
async fn a_holder_whose_connection_is_taken_away_goes_on_unless_another_came() {
    let mut site = Site::postgres();
    let (mut old, mut recovered) = open(&site).await;
    let (one, two) = (timer(&mut recovered.engine, 0), timer(&mut recovered.engine, 1));
    let view = view(&recovered.engine);
    old.append(&[one], &recovered.engine, &view, None).await.unwrap();
    let server = site.server.as_mut().unwrap();
    server.stop(Stop::Crash).unwrap();
    let error = old.append(std::slice::from_ref(&two), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!((error.reason(), error.may_pass()), ("JournalUnreachable", true), "{error}");
    let error = old.append(std::slice::from_ref(&two), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalUnreachable", "{error}");
    assert!(!format!("{error} {error:?}").contains(server.password()), "{error:?}");
    server.start_again().unwrap();
    old.append(std::slice::from_ref(&two), &recovered.engine, &view, None).await.unwrap();
    assert_eq!(old.last_seq(), 2);
    server.stop(Stop::Fast).unwrap();
    server.start_again().unwrap();
    // Its lock went with the server.
    let (new, mut recovered) = open(&site).await;
    assert_eq!((new.last_seq(), recovered.replayed), (2, 2));
    let three = timer(&mut recovered.engine, 2);
    // The first attempt finds out that the connection is gone.
    let error = old.append(std::slice::from_ref(&three), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalUnreachable", "{error}");
    let error = old.append(std::slice::from_ref(&three), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalFenced", "{error}");
    drop(new);
    let error = old.append(std::slice::from_ref(&three), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalFenced", "{error}");
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_neither_lost_nor_doubled() {
    for site in Site::each() {
        for applied in [false, true] {
            let (mut journal, mut recovered) = open(&site).await;
            let before = journal.last_seq();
            let second = 10 * before;
            let entries = [timer(&mut recovered.engine, second), timer(&mut recovered.engine, second + 1)];
            let view = view(&recovered.engine);
            if applied {
                journal.append(&entries, &recovered.engine, &view, None).await.unwrap();
                journal.last_seq = before;
            }
            journal.store.take().unwrap().give_up().await;
            // More has come in the meantime.
            let more = [entries.to_vec(), vec![timer(&mut recovered.engine, second + 2)]].concat();
            assert_eq!(journal.seq_after(3), before + 3);
            journal.append(&more, &recovered.engine, &view, None).await.unwrap();
            assert_eq!(journal.last_seq(), before + 3);
            journal.close().await.unwrap();
            let (journal, again) = open(&site).await;
            assert_eq!(journal.last_seq(), before + 3);
            assert_eq!(again.engine.snapshot(), recovered.engine.snapshot());
            journal.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_that_was_put_back_to_an_older_state_is_not_written_on() {
    for site in Site::each() {
        let (mut journal, mut recovered) = open(&site).await;
        let entries = [timer(&mut recovered.engine, 0), timer(&mut recovered.engine, 1)];
        journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
        journal.store.take().unwrap().give_up().await;
        site.tamper("DELETE FROM outputs").await;
        site.tamper("DELETE FROM events WHERE seq = 2").await;
        let entry = timer(&mut recovered.engine, 2);
        let error =
            journal.append(&[entry], &recovered.engine, &view(&recovered.engine), None).await.unwrap_err();
        assert_eq!((error.reason(), error.may_pass()), ("JournalBehind", false));
        assert!(error.to_string().contains("ends with event 1, and event 2"), "{error}");
    }
}

#[tokio::test]
async fn a_schema_goes_back_one_and_forth_again_and_keeps_everything() {
    for site in Site::each() {
        let error = migrate(&site.place, false).await;
        assert!(error.is_err() || site.server.is_some(), "there is nothing to migrate");
        let (mut journal, mut recovered) = open(&site).await;
        let entry = timer(&mut recovered.engine, 0);
        journal.append(&[entry], &recovered.engine, &view(&recovered.engine), Some(7)).await.unwrap();
        let error = migrate(&site.place, true).await.unwrap_err();
        assert_eq!(error.reason(), "JournalLocked");
        journal.close().await.unwrap();
        assert_eq!(migrate(&site.place, true).await.unwrap(), Migrated { from: 2, to: 1 });
        // As the agent before left it.
        site.tamper("UPDATE meta SET value = '0.0.9' WHERE key = 'version'").await;
        let error = migrate(&site.place, true).await.unwrap_err();
        assert_eq!(error.reason(), "JournalSchema");
        assert!(error.to_string().contains("none before it"), "{error}");
        site.tamper("DELETE FROM meta WHERE key = 'state'").await;
        assert_eq!(migrate(&site.place, false).await.unwrap(), Migrated { from: 1, to: 2 });
        site.tamper("INSERT INTO outputs (seq, n, kind, body) VALUES (1, 99, 'gap', '{}')").await;
        let error = Journal::open(&site.place, &identity(), None).await.unwrap_err().to_string();
        assert!(error.contains("recorded by version 0.0.9"), "{error}");
        site.tamper("DELETE FROM outputs WHERE n = 99").await;
        let (journal, again) = open(&site).await;
        assert_eq!((journal.last_seq(), again.generation), (1, Some(7)));
        assert_eq!(again.engine.snapshot(), recovered.engine.snapshot());
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_holder_from_before_a_schema_went_back_is_refused_by_either_schema() {
    for site in Site::each() {
        for forth in [false, true] {
            let (mut old, mut recovered) = open(&site).await;
            let entry = timer(&mut recovered.engine, 0);
            // Frozen, and its lock lost.
            old.store.take().unwrap().give_up().await;
            old._lock = None;
            migrate(&site.place, true).await.unwrap();
            if forth {
                let (new, _) = open(&site).await;
                assert!(new.epoch > old.epoch, "{} after {}", new.epoch, old.epoch);
                new.close().await.unwrap();
            }
            let view = view(&recovered.engine);
            let error = old.append(&[entry], &recovered.engine, &view, None).await.unwrap_err();
            assert_eq!(error.reason(), "JournalFenced", "{error}");
            drop(old);
            migrate(&site.place, false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn another_bots_journal_is_not_even_migrated() {
    let other = BotId { namespace: "default".into(), name: "other".into() };
    for site in Site::each() {
        let (journal, _) = open(&site).await;
        journal.close().await.unwrap();
        migrate(&site.place, true).await.unwrap();
        let error = Journal::open(&site.place, &other, Some(&config())).await.unwrap_err();
        assert_eq!(error.reason(), "JournalOfOtherBot");
        assert_eq!(migrate(&site.place, false).await.unwrap(), Migrated { from: 1, to: 2 });
    }
}

#[tokio::test]
async fn no_start_waits_for_what_another_bot_does_in_the_same_database() {
    let site = Site::postgres();
    sqlx::any::install_default_drivers();
    let url = site.server.as_ref().unwrap().url();
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    // As a migration in another schema has it that takes long, or whose machine hangs.
    other.lock().await.unwrap();
    let (journal, _) = open(&site).await;
    journal.close().await.unwrap();
    migrate(&site.place, true).await.unwrap();
    // A table of one's own that somebody reads is waited for, with an end.
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    sqlx::query("LOCK TABLE meta IN EXCLUSIVE MODE").execute(&mut other).await.unwrap();
    let error = migrate(&site.place, false).await.unwrap_err();
    assert_eq!((error.reason(), error.may_pass()), ("JournalBusy", true), "{error}");
    other.close().await.unwrap();
    migrate(&site.place, false).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_holds_up_a_writer_who_comes_back_is_named_as_what_it_is() {
    let site = Site::sqlite();
    let (mut journal, mut recovered) = open(&site).await;
    let (one, two) = (timer(&mut recovered.engine, 0), timer(&mut recovered.engine, 1));
    let view = view(&recovered.engine);
    journal.append(&[one], &recovered.engine, &view, None).await.unwrap();
    // As a backup does it.
    let mut reader = Store::open(&site.place, Access::Read, None).await.unwrap();
    reader.hold_still().await.unwrap();
    assert_eq!(reader.last_seq().await.unwrap(), 1);
    journal.store.take().unwrap().give_up().await;
    let error = journal.append(std::slice::from_ref(&two), &recovered.engine, &view, None).await.unwrap_err();
    assert_eq!((error.reason(), error.may_pass()), ("JournalBusy", true), "{error}");
    assert!(error.to_string().contains("wait for the backup"), "{error}");
    reader.close().await.unwrap();
    journal.append(&[two], &recovered.engine, &view, None).await.unwrap();
    assert_eq!(journal.last_seq(), 2);
}

#[tokio::test]
async fn a_journal_of_a_newer_agent_is_left_alone() {
    for site in Site::each() {
        let (journal, _) = open(&site).await;
        journal.close().await.unwrap();
        site.tamper("UPDATE _sqlx_migrations SET version = 9 WHERE version = 2").await;
        for error in [
            Journal::open(&site.place, &identity(), None).await.unwrap_err(),
            migrate(&site.place, false).await.unwrap_err(),
            migrate(&site.place, true).await.unwrap_err(),
        ] {
            assert_eq!(error.reason(), "JournalSchema");
            assert!(error.to_string().contains("run the newer agent"), "{error}");
        }
    }
}

#[tokio::test]
async fn each_kind_of_trouble_has_its_word_and_its_remedy() {
    let site = Site::sqlite();
    let (mut journal, mut recovered) = open(&site).await;
    let view = view(&recovered.engine);
    let mut seconds = 0..;
    let mut more = |engine: &mut Engine| -> Vec<Entry> {
        seconds.by_ref().take(500).map(|second| timer(engine, second)).collect()
    };
    // As full as a disk: SQLite's own limit gives the same answer as the file system's.
    journal.fill_disk().await;
    let (entries, error) = loop {
        let entries = more(&mut recovered.engine);
        if let Err(error) = journal.append(&entries, &recovered.engine, &view, None).await {
            break (entries, error);
        }
    };
    assert_eq!((error.reason(), error.may_pass()), ("JournalDiskFull", true), "{error}");
    assert!(error.to_string().contains("free some"), "{error}");
    let before = journal.last_seq();
    // A connection without the limit is room that was made.
    journal.append(&entries, &recovered.engine, &view, None).await.unwrap();
    assert_eq!(journal.last_seq(), before + entries.len() as i64);
    journal.close().await.unwrap();

    let file = site.folder.path().join(FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    for byte in bytes.iter_mut().skip(4_096) {
        *byte = !*byte;
    }
    std::fs::write(&file, bytes).unwrap();
    let error = Journal::open(&site.place, &identity(), None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalCorrupt", "{error}");
    assert!(error.to_string().contains("restore"), "{error}");
    std::fs::write(&file, "no database, but long enough to look like one".repeat(100)).unwrap();
    let error = Journal::open(&site.place, &identity(), None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalCorrupt", "{error}");
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_told_apart() {
    let site = Site::postgres();
    let (journal, _) = open(&site).await;
    journal.close().await.unwrap();
    site.tamper("ALTER DATABASE postgres SET default_transaction_read_only = on").await;
    let error = Journal::open(&site.place, &identity(), None).await.unwrap_err();
    assert_eq!((error.reason(), error.may_pass()), ("JournalReadOnly", true), "{error}");
    let other = BotId { namespace: "default".into(), name: "other".into() };
    let error = Journal::open(&site.place, &other, None).await.unwrap_err();
    assert_eq!(error.reason(), "JournalOfOtherBot", "{error}");
}
