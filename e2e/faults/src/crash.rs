//! A Kubernetes client that dies at its n-th status write: just before the write, or just after it was stored.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::Notify;
use tower::{Layer, Service};

/// Where the process dies; writes are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Before(usize),
    After(usize),
}

/// A client that dies at `edge`, and the bell that rings then: whoever used it waits for ever.
pub async fn client_that_dies(kubeconfig: Kubeconfig, edge: Edge) -> (Client, Arc<Notify>) {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let bell = Arc::new(Notify::new());
    let layer = Dying {
        edge,
        bell: bell.clone(),
        writes: Arc::default(),
    };
    let client = ClientBuilder::try_from(config).unwrap().with_layer(&layer).build();
    (client, bell)
}

#[derive(Clone)]
struct Dying {
    edge: Edge,
    bell: Arc<Notify>,
    writes: Arc<AtomicUsize>,
}

impl<S> Layer<S> for Dying {
    type Service = DyingService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DyingService {
            inner,
            dying: self.clone(),
        }
    }
}

struct DyingService<S> {
    inner: S,
    dying: Dying,
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S> Service<Request<Body>> for DyingService<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() == Method::PUT && request.uri().path().ends_with("/status");
        let count = match is_write {
            true => self.dying.writes.fetch_add(1, Ordering::SeqCst),
            false => usize::MAX,
        };
        let bell = self.dying.bell.clone();
        let dead = || async move {
            bell.notify_one();
            std::future::pending().await
        };
        if self.dying.edge == Edge::Before(count) {
            return Box::pin(dead());
        }
        let answer = self.inner.call(request);
        if self.dying.edge == Edge::After(count) {
            let dead = dead();
            return Box::pin(async move {
                drop(answer.await);
                dead.await
            });
        }
        Box::pin(answer)
    }
}
