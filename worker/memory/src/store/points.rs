//! Records, filters and answers in Qdrant's words.

use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::vector_output::Vector as VectorKind;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, Condition, DatetimeRange, Distance, Filter as QdrantFilter, NamedVectors,
    PointId, PointStruct, RetrievedPoint, ScoredPoint, Value, VectorsOutput,
};
use qdrant_client::{Payload as QdrantPayload, QdrantError};
use std::collections::HashMap;

use super::{Collection, Scored};
use crate::error::{MemoryError, Result, invalid};
use crate::filter::Filter;
use crate::record::{Id, Payload, Record, Status};

/// The size of a collection's vectors; `None` if it has none.
pub(super) fn dimensions(collection: Collection, info: &CollectionInfo) -> Result<Option<usize>> {
    let params = info
        .config
        .as_ref()
        .and_then(|config| config.params.as_ref());
    let vectors = params.and_then(|params| params.vectors_config.as_ref());
    match vectors.and_then(|vectors| vectors.config.as_ref()) {
        None => Ok(None),
        Some(Config::ParamsMap(map)) if map.map.is_empty() => Ok(None),
        Some(Config::ParamsMap(map)) => {
            let names: Vec<&str> = map.map.keys().map(String::as_str).collect();
            let names = names.join(", ");
            let why = format!("`{collection}` has named vectors ({names}) and must have one");
            Err(MemoryError::Refused(why))
        }
        Some(Config::Params(params)) if params.distance() != Distance::Cosine => {
            Err(MemoryError::Distance {
                collection,
                found: params.distance().as_str_name().to_owned(),
            })
        }
        Some(Config::Params(params)) => Ok(usize::try_from(params.size).ok()),
    }
}

/// A record as a point. One without a vector says so: it has no vector of any name.
pub(super) fn point(record: &Record) -> Result<PointStruct> {
    let json = serde_json::to_value(&record.payload)
        .map_err(|error| invalid("payload", format!("can't be written: {error}")))?;
    let payload = QdrantPayload::try_from(json).map_err(refused)?;
    let id = point_id(record.id);
    Ok(match &record.vector {
        Some(vector) => PointStruct::new(id, vector.clone(), payload),
        None => PointStruct::new(id, NamedVectors::default(), payload),
    })
}

/// A point as a record; `None` for what others keep in the collection.
pub(super) fn record(point: RetrievedPoint) -> Option<Record> {
    let vector = point.vectors.as_ref().and_then(dense);
    read(point.id, point.payload, vector)
}

/// A point that was near, as a record without its vector.
pub(super) fn scored(point: ScoredPoint) -> Option<Scored> {
    let record = read(point.id, point.payload, None)?;
    let score = point.score;
    Some(Scored { record, score })
}

/// What [`Filter::passes`] says, for a server.
pub(super) fn filter(filter: &Filter) -> QdrantFilter {
    let names: Vec<String> = filter
        .namespaces
        .iter()
        .map(|name| name.to_string())
        .collect();
    let mut must = vec![Condition::matches("namespace", names)];
    must.extend(
        filter
            .tags
            .iter()
            .map(|tag| Condition::matches("tags", tag.clone())),
    );
    must.extend(
        filter
            .kind
            .map(|kind| Condition::matches("kind", kind.as_str().to_owned())),
    );
    must.extend(
        filter
            .source
            .iter()
            .map(|source| Condition::matches("source", source.clone())),
    );
    let over = DatetimeRange {
        lte: Some(prost_types::Timestamp {
            seconds: filter.now.as_second(),
            nanos: filter.now.subsec_nanosecond(),
        }),
        ..DatetimeRange::default()
    };
    QdrantFilter {
        must,
        must_not: vec![
            Condition::datetime_range("expires", over),
            Condition::matches("status", RETIRED.to_owned()),
        ],
        ..QdrantFilter::default()
    }
}

pub(super) fn point_id(id: Id) -> PointId {
    PointId::from(id.to_string())
}

pub(super) fn id(point: &PointId) -> Option<Id> {
    match point.point_id_options.as_ref()? {
        PointIdOptions::Uuid(uuid) => uuid.parse().ok(),
        PointIdOptions::Num(_) => None,
    }
}

/// An error of the client's own.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn refused(error: QdrantError) -> MemoryError {
    MemoryError::Refused(error.to_string())
}

/// [`Status::Retired`] in a payload; a test says so.
const RETIRED: &str = "retired";

fn read(
    point: Option<PointId>,
    payload: HashMap<String, Value>,
    vector: Option<Vec<f32>>,
) -> Option<Record> {
    let json = serde_json::Value::from(QdrantPayload::from(payload));
    let payload: Payload = serde_json::from_value(json).ok()?;
    let id = id(&point?)?;
    Some(Record {
        id,
        payload,
        vector,
    })
}

fn dense(vectors: &VectorsOutput) -> Option<Vec<f32>> {
    match vectors.get_vector()? {
        VectorKind::Dense(vector) if !vector.data.is_empty() => Some(vector.data),
        _ => None,
    }
}

/// So that a new status is thought of here.
const _: fn(Status) = |status| match status {
    Status::Active | Status::Retired => {}
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Entry;
    use crate::record::{Kind, Namespace};
    use jiff::Timestamp;
    use qdrant_client::qdrant::{
        CollectionConfig, CollectionParams, VectorParams, VectorParamsMap, VectorsConfig,
    };

    fn info(config: Option<Config>) -> CollectionInfo {
        let params = CollectionParams {
            vectors_config: Some(VectorsConfig { config }),
            ..CollectionParams::default()
        };
        let config = CollectionConfig {
            params: Some(params),
            ..CollectionConfig::default()
        };
        CollectionInfo {
            config: Some(config),
            ..CollectionInfo::default()
        }
    }

    #[test]
    fn only_one_vector_by_cosine_is_good() {
        let params = |size, distance: Distance| VectorParams {
            size,
            distance: distance.into(),
            ..VectorParams::default()
        };
        let check = |config| dimensions(Collection::Knowledge, &info(config));
        let good = check(Some(Config::Params(params(384, Distance::Cosine))));
        assert_eq!(good.unwrap(), Some(384));
        assert_eq!(check(None).unwrap(), None);
        let other = check(Some(Config::Params(params(384, Distance::Dot))));
        assert!(
            matches!(other, Err(MemoryError::Distance { .. })),
            "{other:?}"
        );
        let map = HashMap::from([("image".to_owned(), params(2, Distance::Cosine))]);
        let named = check(Some(Config::ParamsMap(VectorParamsMap { map })));
        assert!(named.unwrap_err().to_string().contains("image"));
    }

    #[test]
    fn records_come_back_from_points() {
        let namespace = Namespace::new("a/b").unwrap();
        let mut entry = Entry::new(namespace, Kind::Problem, "text");
        entry.tags = vec!["one".into()];
        entry.solution = Some("do".into());
        let mut expected = entry.into_record(Timestamp::now()).unwrap();
        expected.payload.mark(true);
        expected.payload.mark(false);
        expected.payload.mark(false);
        let point = point(&expected).unwrap();
        let found = read(point.id, point.payload, None).unwrap();
        assert_eq!(found, expected);
        assert_eq!(record(RetrievedPoint::default()), None);
    }

    #[test]
    fn statuses_are_named_as_they_are_filtered() {
        assert_eq!(serde_json::to_value(Status::Retired).unwrap(), RETIRED);
    }
}
