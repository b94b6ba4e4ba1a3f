//! The object store of the days: a directory, or a bucket.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path as File, PathBuf};
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::civil::Date;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::{Builder, Runtime};

use super::{DAY_BYTES_MAX, EpisodePlace, LOCK, away, date_of, file_name};
use crate::error::{Result, invalid, io};
use crate::lock::{self, Lock};

/// How many days are listed; what else is in a bucket is not ours.
const DAYS_MAX: usize = 100_000;

/// How long a request may take, and for how long it is tried again.
#[cfg(feature = "s3")]
const TIMEOUT: Duration = Duration::from_secs(30);
#[cfg(feature = "s3")]
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
#[cfg(feature = "s3")]
const RETRIES: usize = 2;

/// A bucket.
#[cfg(feature = "s3")]
#[derive(Clone)]
pub struct S3Options {
    /// `https://HOST[:PORT]/BUCKET[/PREFIX]`; http only to this machine.
    pub url: String,
    /// Its region, such as `us-east-1`; many servers do not care.
    pub region: String,
    /// The id of the key,
    pub key_id: String,
    /// and its secret.
    pub secret: String,
}

/// An object store.
pub(super) struct Place {
    name: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The directory, if it is one: no other process puts days there.
    locked: Option<(PathBuf, Lock)>,
    /// Gone only while this is dropped.
    runtime: Option<Runtime>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever drops it may be in a task, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    pub(super) fn open(place: &EpisodePlace) -> Result<Self> {
        let ((name, store, prefix), locked) = match place {
            EpisodePlace::Directory(dir) => {
                lock::make(dir)?;
                check(dir)?;
                let locked = (dir.clone(), Lock::take(dir, LOCK)?);
                let name = dir.display().to_string();
                ((name, directory(dir)?, Path::default()), Some(locked))
            }
            #[cfg(feature = "s3")]
            EpisodePlace::S3(options) => (options.open()?, None),
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: Some(runtime.map_err(|fault| away(&name, fault))?),
            name,
            store,
            prefix,
            locked,
        })
    }

    /// Makes a directory anew that somebody removed; whether that was so.
    pub(super) fn settle(&mut self) -> Result<bool> {
        match &mut self.locked {
            Some((dir, lock)) => {
                lock::make(dir)?;
                check(dir)?;
                lock.settle()
            }
            None => Ok(false),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn path(&self, date: Date) -> Path {
        self.prefix.clone().join(file_name(date))
    }

    fn wait<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<Option<T>> {
        let Some(runtime) = &self.runtime else {
            return Err(away(&self.name, "it is being closed"));
        };
        match runtime.block_on(work) {
            Ok(done) => Ok(Some(done)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(fault) => Err(away(&self.name, fault)),
        }
    }

    pub(super) fn put(&self, date: Date, text: String) -> Result<()> {
        let put = self.wait(self.store.put(&self.path(date), text.into()))?;
        put.ok_or_else(|| away(&self.name, "there is no such bucket"))?;
        match &self.locked {
            Some((dir, _)) => keep_private(&dir.join(file_name(date))),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, date: Date) -> Result<Option<String>> {
        let path = self.path(date);
        let bytes = self.wait(async {
            let got = self.store.get(&path).await?;
            if got.meta.size > DAY_BYTES_MAX * 2 {
                let source = format!("{} bytes are no day of ours", got.meta.size).into();
                return Err(object_store::Error::Generic {
                    store: "episodes",
                    source,
                });
            }
            got.bytes().await
        })?;
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(text.filter(|text| text.is_empty() || text.ends_with('\n')))
    }

    pub(super) fn list(&self) -> Result<Vec<(Date, u64)>> {
        let found = self.wait(async {
            let prefix = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
            let mut listed = self.store.list(prefix);
            let mut days = Vec::new();
            while let Some(meta) = listed.try_next().await? {
                let ours = meta.location.prefix_matches(&self.prefix)
                    && meta.location.parts_count() == self.prefix.parts_count() + 1;
                let date = meta.location.filename().and_then(date_of);
                days.extend(date.filter(|_| ours).map(|date| (date, meta.size)));
                if days.len() >= DAYS_MAX {
                    break;
                }
            }
            Ok(days)
        });
        Ok(found?.unwrap_or_default())
    }

    pub(super) fn remove(&self, date: Date) -> Result<()> {
        self.wait(self.store.delete(&self.path(date))).map(drop)
    }
}

/// Refuses a directory in which others can look, since it holds what everybody asked.
fn check(dir: &File) -> Result<()> {
    let mode = fs::metadata(dir).map_err(io(dir))?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!(
        "is {dir}, which others can look into (its mode is {mode:o}): days hold what everybody \
         asked; chmod 700 {dir}",
        dir = dir.display()
    );
    Err(invalid("episodes_dir", why))
}

/// What is put there has the mode that the process gives to all its files.
fn keep_private(path: &File) -> Result<()> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    set.map_err(io(path))
}

fn directory(dir: &File) -> Result<Arc<dyn ObjectStore>> {
    // What a killed process was about to put; nobody else puts anything here.
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let half = name.rsplit_once('#');
        if half
            .is_some_and(|(name, number)| date_of(name).is_some() && number.parse::<u32>().is_ok())
        {
            fs::remove_file(&path).map_err(io(&path))?;
        } else if date_of(&name).is_some() {
            keep_private(&path)?;
        }
    }
    let store = LocalFileSystem::new_with_prefix(dir);
    let store = store.map_err(|fault| away(&dir.display().to_string(), fault))?;
    Ok(Arc::new(store.with_fsync(true)))
}

#[cfg(feature = "s3")]
impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// The parts of a bucket's address.
#[cfg(feature = "s3")]
struct Address {
    endpoint: String,
    host: String,
    port: u16,
    bucket: String,
    prefix: Path,
    is_loopback: bool,
    is_http: bool,
}

#[cfg(feature = "s3")]
impl S3Options {
    /// Refuses an address that is none, before anything is asked of it.
    pub fn check(&self) -> Result<()> {
        self.address().map(drop)
    }

    pub(super) fn remote(&self) -> Option<String> {
        let address = self.address().ok()?;
        (!address.is_loopback).then(|| format!("{}:{}", address.host, address.port))
    }

    fn address(&self) -> Result<Address> {
        let wrong = |why: &str| {
            invalid(
                "episodes_s3",
                format!("{why}; it is https://HOST[:PORT]/BUCKET[/PREFIX]"),
            )
        };
        let url = url::Url::parse(&self.url)
            .map_err(|fault| wrong(&format!("is no address: {fault}")))?;
        let host = url
            .host_str()
            .ok_or_else(|| wrong("names no host"))?
            .to_owned();
        let is_loopback = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let is_http = url.scheme() == "http";
        if !(url.scheme() == "https" || (is_http && is_loopback)) {
            return Err(wrong("must be https, or http to this machine"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("has more than host, bucket and prefix"));
        }
        let mut parts = url.path().trim_matches('/').splitn(2, '/');
        let bucket = parts.next().unwrap_or_default().to_owned();
        if bucket.is_empty() {
            return Err(wrong("names no bucket"));
        }
        let prefix = Path::from_url_path(parts.next().unwrap_or_default());
        Ok(Address {
            endpoint: url.origin().ascii_serialization(),
            host,
            port: url.port_or_known_default().unwrap_or(443),
            bucket,
            prefix: prefix.map_err(|fault| wrong(&fault.to_string()))?,
            is_loopback,
            is_http,
        })
    }

    fn open(&self) -> Result<(String, Arc<dyn ObjectStore>, Path)> {
        let address = self.address()?;
        let client = object_store::ClientOptions::new()
            .with_timeout(TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_allow_http(address.is_http);
        let retry = object_store::RetryConfig {
            max_retries: RETRIES,
            retry_timeout: TIMEOUT,
            ..object_store::RetryConfig::default()
        };
        let store = object_store::aws::AmazonS3Builder::new()
            .with_endpoint(&address.endpoint)
            .with_bucket_name(&address.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.key_id)
            .with_secret_access_key(&self.secret)
            .with_virtual_hosted_style_request(false)
            .with_client_options(client)
            .with_retry(retry)
            .build();
        let name = format!("bucket {} at {}", address.bucket, address.host);
        let store = store.map_err(|fault| away(&name, fault))?;
        Ok((name, Arc::new(store), address.prefix))
    }
}
