//! An event as a line of NDJSON: a `CloudEvent` in the JSON format, from which the row of the log can be made again, byte
//! for byte.
//!
//! The names are those of the messages in NATS. Numbers that may outgrow the 32 bits of a `CloudEvents` integer are texts.
//! `data` is the payload as it is stored. Where that could not stand in a line as it is, since somebody has put line
//! breaks or surrounding space into it, it is `data_base64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use domain::Timestamp;
use eventstore::Position;
use eventstore::nats::SOURCE;
use eventstore::proof::{StoredEvent, StoredTime};
use eventstore::transfer::Flaw;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

const SPECIFICATION: &str = "1.0";
const CONTENT: &str = "application/json";

/// The attributes of a line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    specversion: String,
    id: Uuid,
    source: String,
    r#type: String,
    subject: String,
    time: Timestamp,
    datacontenttype: String,
    dataversion: String,
    aggregatetype: String,
    eventtype: String,
    position: String,
    commitposition: String,
    sequence: String,
    /// The text of its JSON, as it is stored.
    metadata: String,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

/// An event as a line, without its end.
pub(crate) fn write(event: &StoredEvent) -> Result<String, super::ExportError> {
    let time = event.recorded_at.unix_us().and_then(DateTime::from_timestamp_micros);
    let time = time.ok_or(Flaw::Time(event.position))?;
    let as_it_is = serde_json::from_str::<&RawValue>(&event.payload).ok();
    let data = as_it_is.filter(|data| data.get() == event.payload && !event.payload.contains(['\n', '\r']));
    let line = Line {
        specversion: SPECIFICATION.to_owned(),
        id: event.event_id,
        source: SOURCE.to_owned(),
        r#type: of_type(event),
        subject: event.aggregate_id.clone(),
        time,
        datacontenttype: CONTENT.to_owned(),
        dataversion: event.event_version.clone(),
        aggregatetype: event.aggregate_type.clone(),
        eventtype: event.event_type.clone(),
        position: event.position.to_string(),
        commitposition: event.commit_position.to_string(),
        sequence: event.sequence.to_string(),
        metadata: event.metadata.clone(),
        data,
        data_base64: data.is_none().then(|| STANDARD.encode(&event.payload)),
    };
    Ok(serde_json::to_string(&line)?)
}

fn of_type(event: &StoredEvent) -> String {
    format!("tradepost.{}.{}", event.aggregate_type, event.event_type)
}

/// The event of a line.
pub(crate) fn read(line: &str) -> Result<StoredEvent, String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let number = |text: &str| text.parse::<Position>().map_err(|_| format!("`{text}` is no number"));
    let payload = match (line.data, line.data_base64) {
        (Some(data), None) => data.get().to_owned(),
        (None, Some(encoded)) => {
            let bytes = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
            String::from_utf8(bytes).map_err(|error| error.to_string())?
        }
        (Some(_), Some(_)) | (None, None) => return Err("it has not either `data` or `data_base64`".to_owned()),
    };
    let recorded_at = StoredTime::from_unix_us(line.time.timestamp_micros());
    let event = StoredEvent {
        position: number(&line.position)?,
        commit_position: number(&line.commitposition)?,
        recorded_at: recorded_at.ok_or("its time is out of range")?,
        sequence: number(&line.sequence)?,
        event_id: line.id,
        aggregate_type: line.aggregatetype,
        aggregate_id: line.subject,
        event_type: line.eventtype,
        event_version: line.dataversion,
        payload,
        metadata: line.metadata,
    };
    let fixed = (&*line.specversion, &*line.source, &*line.datacontenttype) == (SPECIFICATION, SOURCE, CONTENT);
    if !fixed || line.r#type != of_type(&event) {
        return Err("it is no event of Tradepost".to_owned());
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &str) -> StoredEvent {
        StoredEvent {
            position: 1 << 40,
            commit_position: (1 << 40) + 1,
            recorded_at: StoredTime(1_234_567_890_123_457),
            sequence: 3,
            event_id: Uuid::from_u128(9),
            aggregate_type: "wallet".to_owned(),
            aggregate_id: Uuid::from_u128(7).to_string(),
            event_type: "HoldPlaced".to_owned(),
            event_version: "1".to_owned(),
            payload: payload.to_owned(),
            metadata: "{ \"actor\":\"account:1\" }\n".to_owned(),
        }
    }

    #[test]
    fn a_line_gives_back_the_row_byte_for_byte() {
        let payloads = [
            r#"{"b":1,"a":[1.50,1e2,"\u00e9"],"a":null}"#,
            "{ \"spaced\" :  1 }",
            "{\n\"broken\": 1}",
            " {}",
            "{}\r",
            "9007199254740993",
            r#""\ud800""#,
        ];
        for payload in payloads {
            let event = event(payload);
            let line = write(&event).unwrap();
            assert!(!line.contains(['\n', '\r']), "{line}");
            assert_eq!(read(&line).unwrap(), event);
        }
    }

    #[test]
    fn a_line_is_a_cloud_event() {
        let line: serde_json::Value = serde_json::from_str(&write(&event(r#"{"a":1}"#)).unwrap()).unwrap();
        let expected = serde_json::json!({
            "specversion": "1.0",
            "id": "00000000-0000-0000-0000-000000000009",
            "source": "/tradepost",
            "type": "tradepost.wallet.HoldPlaced",
            "subject": "00000000-0000-0000-0000-000000000007",
            "time": "2039-02-13T23:31:30.123457Z",
            "datacontenttype": "application/json",
            "dataversion": "1",
            "aggregatetype": "wallet",
            "eventtype": "HoldPlaced",
            "position": "1099511627776",
            "commitposition": "1099511627777",
            "sequence": "3",
            "metadata": "{ \"actor\":\"account:1\" }\n",
            "data": { "a": 1 },
        });
        assert_eq!(line, expected);
        // An attribute's name has lower-case letters and digits only.
        let plain =
            |name: &String| name == "data" || name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        assert!(line.as_object().unwrap().keys().all(plain));
    }

    #[test]
    fn what_is_no_event_of_ours_is_refused() {
        let line = write(&event("{}")).unwrap();
        for (from, to) in [
            ("\"1.0\"", "\"0.3\""),
            ("tradepost.wallet", "tradepost.purse"),
            ("\"sequence\":\"3\"", "\"sequence\":\"x\""),
            ("\"data\":{}", "\"more\":{}"),
            (",\"data\":{}", ""),
            ("\"data\":{}", "\"data\":{},\"data_base64\":\"\""),
        ] {
            assert!(line.contains(from), "{from}");
            assert!(read(&line.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
