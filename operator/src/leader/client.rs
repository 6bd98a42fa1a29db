//! Two clients: one whose writes stop at a fence, and one for the Lease itself.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use super::fence::{Fence, FencedBody};

/// What kube's own client is made of, with the fence right before the connection: behind the retries and
/// the reading of a token, and around what is sent.
///
/// # Errors
/// When certificates or credentials cannot be read.
pub fn fenced(config: &Config, fence: &Fence) -> Result<Client, kube::Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let connections = legacy::Client::builder(TokioExecutor::new()).build::<_, FencedBody<Body>>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(retries()?))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(fence.clone())
        .map_err(BoxError::from)
        .service(connections);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// A client that tries nothing twice: the election knows better when to.
///
/// # Errors
/// As above.
pub fn unfenced(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    Client::try_from(config)
}

/// What was too much for the API server is tried again for a second at most. Whoever called does the rest: kube's
/// own policy waits longer and longer, minutes at last, while the API server is long well again.
fn retries() -> Result<RetryPolicy, kube::Error> {
    RetryPolicy::new(Duration::from_millis(5), Duration::from_secs(2), 6, true)
        .map_err(|error| kube::Error::Service(error.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;

    use super::super::Terms;
    use super::super::clock::BootTime;
    use super::*;

    /// A server that never answers a GET and answers anything else with what it was sent.
    fn config() -> Config {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    let length = stream.read(&mut request).unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    if let (false, Some((_, body))) =
                        (request.starts_with("GET"), request.split_once("\r\n\r\n"))
                    {
                        let head = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", body.len());
                        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                    }
                    stream.read_to_end(&mut Vec::new()).ok();
                });
            }
        });
        Config::new(format!("http://{address}").parse().unwrap())
    }

    /// A server that has no time for anybody, and how often it said so.
    fn busy() -> (Config, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                count.fetch_add(1, Ordering::Relaxed);
                let answer = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (Config::new(format!("http://{address}").parse().unwrap()), asked)
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again_for_a_moment_and_for_the_lease_not_at_all() {
        for (is_fenced, requests) in [(true, 7), (false, 1)] {
            let (config, asked) = busy();
            let client = if is_fenced { fenced(&config, &Fence::open()) } else { unfenced(config) };
            let api = Api::<ConfigMap>::default_namespaced(client.unwrap());
            let list = tokio::time::timeout(Duration::from_secs(20), api.list(&Default::default())).await;
            list.expect("it is given up").expect_err("it had no time");
            assert_eq!(asked.load(Ordering::Relaxed), requests);
        }
    }

    #[tokio::test]
    async fn writes_pass_within_a_term_and_the_times_of_the_configuration_hold() {
        let mut config = config();
        config.read_timeout = Some(Duration::from_millis(200));
        config.reset_reader_on_write = true;
        let fence = Fence::closed(Terms::new(4));
        let api = Api::<ConfigMap>::default_namespaced(fenced(&config, &fence).unwrap());
        let post = || async { api.create(&PostParams::default(), &ConfigMap::default()).await };
        let refused = post().await.unwrap_err().to_string();
        assert!(refused.contains("does not lead"), "{refused}");
        fence.extend(BootTime::MAX);
        post().await.expect("it leads");
        let list = tokio::time::timeout(Duration::from_secs(20), api.list(&Default::default())).await;
        list.expect("it is given up").expect_err("there was no answer");
    }
}
