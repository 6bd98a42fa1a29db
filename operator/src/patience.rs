//! How long the operator waits for the API server to say anything.

use std::time::Duration;

use kube::Config;

/// A connection on which nothing comes for so long is taken for dead. An idle watch is no silence: the API
/// server sends a bookmark every minute. What writes is given up sooner, by the reconcile that it belongs to.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(150);

/// Ends requests that are never answered. Without it a list whose answer is lost on the way is waited for
/// until the process ends, and nothing of its kind is seen again.
pub fn patient(mut config: Config, longest_silence: Duration) -> Config {
    config.read_timeout = Some(longest_silence);
    // Counted from the request, not from the last answer on a connection that was idle since.
    config.reset_reader_on_write = true;
    config
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, Client};

    use super::*;

    /// A server that takes one request and says no more than the given words.
    fn server(words: &'static str) -> Config {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(words.as_bytes()).unwrap();
            // Returns when the client has given up.
            stream.read_to_end(&mut Vec::new()).ok();
        });
        Config::new(format!("http://{address}").parse().unwrap())
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_or_never_ends_is_not_waited_for() {
        for words in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
            let config = patient(server(words), Duration::from_millis(200));
            let api = Api::<ConfigMap>::all(Client::try_from(config).unwrap());
            let listed = tokio::time::timeout(Duration::from_secs(20), api.list(&Default::default())).await;
            listed.expect("it is given up").expect_err("there was no answer");
        }
    }
}
