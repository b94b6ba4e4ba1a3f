//! The store on a Qdrant server. Every call has a deadline, and a server that is away is left
//! alone for a while, so that nobody waits for it again and again.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qdrant_client::qdrant::{
    CountPointsBuilder, CreateCollectionBuilder, DeletePointsBuilder, Distance, GetPointsBuilder,
    PointId, PointsIdsList, QueryPointsBuilder, ScrollPointsBuilder, SearchParamsBuilder,
    UpsertPointsBuilder, VectorParamsBuilder,
};
use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::Runtime;

use super::embedded::check_batch;
use super::points::{self, refused};
use super::{Breaker, Collection, Scored, Store};
use crate::embed;
use crate::error::{MemoryError, Result, invalid};
use crate::filter::Filter;
use crate::record::{Id, Record};

/// Which server, and how long it may take.
#[derive(Clone)]
pub struct ServerOptions {
    /// Its name or address.
    pub host: String,
    /// The port of its gRPC, usually 6334.
    pub port: u16,
    /// What it knows us by.
    pub api_key: Option<String>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// How long one call may take.
    pub deadline: Duration,
}

/// A Qdrant server.
pub struct Server {
    options: ServerOptions,
    client: Qdrant,
    breaker: Mutex<Breaker>,
    /// Only taken when this is dropped.
    runtime: Option<Runtime>,
}

/// How many records go over the wire at once, so that no message gets too long.
const RECORDS_AT_ONCE: usize = 128;

impl ServerOptions {
    /// A server without a key, without TLS, with five seconds for each call.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            api_key: None,
            tls: false,
            deadline: Duration::from_secs(5),
        }
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        // An IPv6 address has colons of its own.
        let host = match self.host.contains(':') && !self.host.starts_with('[') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        format!("{scheme}://{host}:{}", self.port)
    }
}

impl std::fmt::Debug for ServerOptions {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions")
            .field("url", &self.url())
            .field("api_key", &self.api_key.as_ref().map(|_| "..."))
            .field("deadline", &self.deadline)
            .finish()
    }
}

impl Server {
    /// Makes ready to speak to a server; it is not asked anything yet.
    pub fn connect(options: &ServerOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fazai-qdrant")
            .enable_all()
            .build()
            .map_err(|error| invalid("runtime", format!("can't be started: {error}")))?;
        let _context = runtime.enter();
        let client = Qdrant::from_url(&options.url())
            .api_key(options.api_key.clone())
            .timeout(options.deadline)
            .connect_timeout(options.deadline)
            // It would print, and wait.
            .skip_compatibility_check()
            .build()
            .map_err(refused)?;
        drop(_context);
        Ok(Self {
            options: options.clone(),
            client,
            breaker: Mutex::default(),
            runtime: Some(runtime),
        })
    }

    /// Does one call: not while the server is left alone, and not for longer than the deadline.
    fn call<T>(&self, call: impl Future<Output = Result<T, QdrantError>>) -> Result<T> {
        let enter = self.breaker().enter(Instant::now());
        enter.map_err(|wait| self.unavailable("it did not answer before".into(), wait))?;
        let Some(runtime) = &self.runtime else {
            return Err(self.unavailable("it is being closed".into(), Duration::ZERO));
        };
        let deadline = self.options.deadline;
        let answer = runtime.block_on(async { tokio::time::timeout(deadline, call).await });
        let why = match answer {
            Ok(Ok(answer)) => {
                self.breaker().succeeded();
                return Ok(answer);
            }
            Ok(Err(error)) => match outage(&error) {
                Some(why) => why,
                None => {
                    self.breaker().succeeded();
                    return Err(MemoryError::Refused(message(&error)));
                }
            },
            Err(_) => format!("it did not answer within {} ms", deadline.as_millis()),
        };
        let wait = self.breaker().failed(Instant::now());
        Err(self.unavailable(why, wait))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, why: String, wait: Duration) -> MemoryError {
        MemoryError::Unavailable {
            store: self.name(),
            why,
            retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(100),
        }
    }

    fn create(&self, collection: Collection, dimensions: Option<usize>) -> Result<()> {
        let mut request = CreateCollectionBuilder::new(collection.as_str());
        if let Some(dimensions) = dimensions {
            embed::check_dimensions(dimensions)?;
            let vectors = VectorParamsBuilder::new(dimensions as u64, Distance::Cosine);
            request = request.vectors_config(vectors);
        }
        self.call(self.client.create_collection(request)).map(drop)
    }

    fn points(ids: &[Id]) -> Vec<PointId> {
        ids.iter().map(|id| points::point_id(*id)).collect()
    }
}

impl Store for Server {
    fn name(&self) -> String {
        format!("Qdrant server at {}", self.options.url())
    }

    fn is_local(&self) -> bool {
        false
    }

    fn prepare(&self, collection: Collection, dimensions: Option<usize>) -> Result<Option<usize>> {
        let name = collection.as_str();
        if !self.call(self.client.collection_exists(name))? {
            self.create(collection, dimensions)?;
            return Ok(dimensions);
        }
        let info = self
            .call(self.client.collection_info(name))?
            .result
            .unwrap_or_default();
        let found = points::dimensions(collection, &info)?;
        match (found, dimensions) {
            (Some(found), Some(wanted)) if found != wanted => Err(MemoryError::Dimensions {
                collection,
                found,
                wanted,
            }),
            // It was made by a machine without an embedding model, and never used.
            (None, Some(_)) if self.count(collection)? == 0 => {
                self.call(self.client.delete_collection(name))?;
                self.create(collection, dimensions)?;
                Ok(dimensions)
            }
            (None, Some(wanted)) => Err(MemoryError::Dimensions {
                collection,
                found: 0,
                wanted,
            }),
            _ => Ok(found),
        }
    }

    fn upsert(&self, collection: Collection, records: &[Record]) -> Result<()> {
        check_batch(records.len())?;
        for records in records.chunks(RECORDS_AT_ONCE) {
            let mut batch = Vec::with_capacity(records.len());
            for record in records {
                record.payload.check()?;
                let mut record = record.clone();
                if let Some(vector) = &mut record.vector {
                    let dimensions = vector.len();
                    embed::unit(vector, dimensions)?;
                }
                batch.push(points::point(&record)?);
            }
            let request = UpsertPointsBuilder::new(collection.as_str(), batch).wait(true);
            self.call(self.client.upsert_points(request))?;
        }
        Ok(())
    }

    fn get(&self, collection: Collection, ids: &[Id]) -> Result<Vec<Record>> {
        check_batch(ids.len())?;
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(RECORDS_AT_ONCE) {
            let request = GetPointsBuilder::new(collection.as_str(), Self::points(ids))
                .with_payload(true)
                .with_vectors(true);
            let found = self.call(self.client.get_points(request))?.result;
            records.extend(found.into_iter().filter_map(points::record));
        }
        // A server answers in any order.
        let place = |record: &Record| ids.iter().position(|id| *id == record.id);
        records.sort_by_key(place);
        Ok(records)
    }

    fn remove(&self, collection: Collection, ids: &[Id]) -> Result<()> {
        check_batch(ids.len())?;
        if ids.is_empty() {
            return Ok(());
        }
        let ids = PointsIdsList {
            ids: Self::points(ids),
        };
        let request = DeletePointsBuilder::new(collection.as_str())
            .points(ids)
            .wait(true);
        self.call(self.client.delete_points(request)).map(drop)
    }

    fn nearest(
        &self,
        collection: Collection,
        vector: &[f32],
        k: usize,
        filter: &Filter,
    ) -> Result<Vec<Scored>> {
        check_batch(k)?;
        let request = QueryPointsBuilder::new(collection.as_str())
            .query(vector.to_vec())
            .limit(k as u64)
            .filter(points::filter(filter))
            .with_payload(true)
            // As the embedded store does: what is nearest, and not what is probably.
            .params(SearchParamsBuilder::default().exact(true));
        let found = self.call(self.client.query(request))?.result;
        let mut scored: Vec<Scored> = found.into_iter().filter_map(points::scored).collect();
        scored.sort_by(|one, other| {
            let ids = one.record.id.cmp(&other.record.id);
            other.score.total_cmp(&one.score).then(ids)
        });
        Ok(scored)
    }

    fn scroll(
        &self,
        collection: Collection,
        after: Option<Id>,
        limit: usize,
        vectors: bool,
    ) -> Result<Vec<Record>> {
        check_batch(limit)?;
        let (mut records, mut from) = (Vec::new(), after.map(points::point_id));
        // A page may hold nothing of ours.
        while records.len() < limit {
            // A server's page begins with the point that is named.
            let page = u32::try_from(RECORDS_AT_ONCE.min(limit - records.len()) + 1);
            let mut request = ScrollPointsBuilder::new(collection.as_str())
                .limit(page.unwrap_or(u32::MAX))
                .with_payload(true)
                .with_vectors(vectors);
            if let Some(from) = from {
                request = request.offset(from);
            }
            let answer = self.call(self.client.scroll(request))?;
            let last = records.last().map(|record: &Record| record.id).or(after);
            let found = answer.result.into_iter().filter_map(points::record);
            records.extend(found.filter(|record| last.is_none_or(|last| record.id > last)));
            from = answer.next_page_offset;
            if from.is_none() {
                break;
            }
        }
        records.truncate(limit);
        Ok(records)
    }

    fn count(&self, collection: Collection) -> Result<usize> {
        let request = CountPointsBuilder::new(collection.as_str()).exact(true);
        let count = self
            .call(self.client.count(request))?
            .result
            .unwrap_or_default()
            .count;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// A server does that by itself.
    fn compact(&self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Server {
    /// A runtime that is dropped waits, and must not within another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why the server is as good as away; `None` if it answered, and the answer is no.
fn outage(error: &QdrantError) -> Option<String> {
    /// gRPC's numbers for: cancelled, unknown, deadline exceeded, resource exhausted, aborted,
    /// internal, unavailable. The others blame the question.
    const OUTAGES: [i32; 7] = [1, 2, 4, 8, 10, 13, 14];
    let away = match error {
        QdrantError::ResponseError { status } => OUTAGES.contains(&(status.code() as i32)),
        QdrantError::ResourceExhaustedError { .. } | QdrantError::Io(_) => true,
        _ => false,
    };
    away.then(|| message(error))
}

/// What the server said, without the headers of its answer.
fn message(error: &QdrantError) -> String {
    match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => status.message().to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
