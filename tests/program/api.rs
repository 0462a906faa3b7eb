//! docs/openapi.yaml against a running exporter: every path, parameter, status and content type, and the bodies of the details.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use crate::common::net::http;
use crate::common::net::statsdb::{Allocation, Statsdb};
use crate::common::poll::{self, PATIENCE};
use crate::common::servers::exporter::Exporter;
use crate::common::servers::process::Tool;
use crate::common::servers::redis::Redis;
use coturn_exporter::config::TelemetryPath;
use coturn_exporter::details::Detail;
use coturn_exporter::http::PROBES;
use coturn_exporter::markup::{LIVE_PAGE, PageFile};
use serde_json::{Value, json};

const PYTHON: Tool = Tool { program: "python3", package: "python3" };

fn description() -> Value {
    serde_saphyr::from_str(include_str!("../../docs/openapi.yaml")).expect("YAML")
}

/// What a reference stands for; anything else is itself.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
    let pointer = reference.strip_prefix('#').expect("within the file");
    description.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Each `$ref` of the file.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_has_every_path_and_no_loose_end() {
    let description = description();
    assert_eq!(description["openapi"], "3.1.0");
    let telemetry = TelemetryPath::default();
    let served: BTreeSet<String> = Detail::ALL
        .map(Detail::path)
        .into_iter()
        .chain(PageFile::ALL.map(PageFile::path))
        .chain(PROBES)
        .chain([LIVE_PAGE, telemetry.as_str()])
        .map(str::to_owned)
        .collect();
    assert_eq!(names(&description["paths"]), served);

    let mut used = BTreeSet::new();
    references(&description, &mut used);
    let components = description["components"].as_object().unwrap();
    let defined: BTreeSet<String> = ["parameters", "responses", "schemas"]
        .iter()
        .flat_map(|kind| {
            names(&components[*kind]).into_iter().map(move |name| format!("#/components/{kind}/{name}"))
        })
        .collect();
    assert_eq!(used.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), defined);
    for (path, item) in description["paths"].as_object().unwrap() {
        let operation = &item["get"];
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&description, response);
            assert!(response["description"].is_string(), "{path} {status}");
            assert!(!names(&response["content"]).is_empty(), "{path} {status}");
        }
    }
}

/// Fails unless the file has this status with this content type.
#[track_caller]
fn must_be_described(description: &Value, path: &str, response: &http::Response<Vec<u8>>) {
    let described = &description["paths"][path]["get"]["responses"][response.status.to_string()];
    let described = resolved(description, described);
    let kinds = names(&described["content"]);
    let kind = response.header("content-type").unwrap_or_default();
    assert!(kinds.contains(kind), "{path}: {} {kind:?} is not among {kinds:?}", response.status);
}

#[test]
fn every_answer_is_as_described() {
    let description = description();
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    let silent = Exporter::watching(&redis.url(0));
    let ask = |method: &str, path: &str, header: &str| {
        let stream = std::net::TcpStream::connect(exporter.address).unwrap();
        let request = format!("{method} {path} HTTP/1.0\r\n{header}\r\n\r\n");
        http::exchange_over(stream, &request).unwrap_or_else(|why| panic!("{path}: {why}"))
    };
    let host = format!("Host: {}", exporter.address);
    for (path, item) in description["paths"].as_object().unwrap() {
        let responses = &item["get"]["responses"];
        let got = ask("GET", path, &host);
        assert_eq!(got.status, 200, "{path}");
        must_be_described(&description, path, &got);
        let refused = ask("POST", path, &host);
        assert_eq!(refused.status, 405, "{path}");
        must_be_described(&description, path, &refused);
        if Detail::at(path).is_some() {
            let foreign = ask("GET", path, "Host: evil.example");
            assert_eq!(foreign.status, 403, "{path}");
            must_be_described(&description, path, &foreign);
            let wrong = ask("GET", &format!("{path}?limit=none"), &host);
            assert_eq!(wrong.status, 400, "{path}");
            must_be_described(&description, path, &wrong);
            let absent = http::get_bytes_with(silent.address, path, "Accept: */*").unwrap();
            assert_eq!(absent.status, 404, "{path}");
            must_be_described(&description, path, &absent);
        } else {
            assert!(responses["403"].is_null() && responses["400"].is_null(), "{path}");
        }
    }
    for format in names(&description["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) {
        let got = ask("GET", "/metrics", &format!("{host}\r\nAccept: {format}"));
        assert_eq!(got.header("content-type"), Some(&*format));
    }
}

#[test]
fn every_parameter_is_taken_and_no_other() {
    let description = description();
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    for detail in [Detail::Allocations, Detail::Sessions] {
        let path = detail.path();
        let parameters = description["paths"][path]["get"]["parameters"].as_array().unwrap();
        let mut told = BTreeSet::new();
        for parameter in parameters.iter().map(|parameter| resolved(&description, parameter)) {
            let name = parameter["name"].as_str().unwrap();
            told.insert(name.to_owned());
            let schema = &parameter["schema"];
            let values =
                [&schema["enum"], &schema["examples"]].into_iter().filter_map(Value::as_array).flatten();
            let bounds =
                [&schema["minimum"], &schema["maximum"]].into_iter().filter(|bound| !bound.is_null());
            for value in values.chain(bounds) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let query = format!("{path}?{name}={value}");
                assert_eq!(exporter.status(&query), 200, "{query}");
            }
            if schema["enum"].is_array() {
                assert_eq!(exporter.status(&format!("{path}?{name}=surprise")), 400, "{path} {name}");
            }
        }
        // The program's own list, as it says it to those who ask for another.
        let refusal = exporter.get(&format!("{path}?surprise=1")).unwrap().body;
        let (_, list) = refusal.split_once("the parameters are ").expect(&refusal);
        let known: BTreeSet<_> = list
            .split([',', ' ', '"', '}', '\n'])
            .filter(|word| !word.is_empty() && *word != "and")
            .collect();
        for name in &known {
            // A value that `transport` has too, and that for others may be wrong, but as a value.
            let answer = exporter.get(&format!("{path}?{name}=udp")).unwrap().body;
            let is_taken = !answer.contains("is not a filter of sessions");
            assert_eq!(told.contains(*name), is_taken, "{path}: {name}");
        }
        assert!(told.iter().all(|name| known.contains(name.as_str())), "{path}: {told:?}, {known:?}");
    }
}

/// What each body has against the schema of that name; `None` where nothing.
fn schema_errors(description: &Value, cases: &[(&str, Value)]) -> Vec<String> {
    const PROGRAM: &str = r##"
import json, sys
try:
    from jsonschema import Draft202012Validator as Validator
except ImportError:
    sys.exit("install Debian's package python3-jsonschema")
description, cases = json.load(sys.stdin)
for schema in description["components"]["schemas"].values():
    Validator.check_schema(schema)
def errors(name, body):
    validator = Validator({"$ref": "#/components/schemas/" + name, "components": description["components"]})
    return "; ".join(error.message for error in validator.iter_errors(body))
print(json.dumps([errors(name, body) for name, body in cases]))
"##;
    let mut command = PYTHON.command();
    command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}", PYTHON.cannot_start(&error)));
    child.stdin.take().unwrap().write_all(json!([description, cases]).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn bodies_are_as_their_schemas_have_them() {
    let description = description();
    let redis = Redis::start();
    let exporter = Exporter::watching_with(&redis.url(0), &["--web.enable-details"]);
    Statsdb::connect(&redis, 0).open(&Allocation::new("one.example", "alice", 1), 600);
    let ask = |path: &str| -> Value { serde_json::from_str(&exporter.get(path).unwrap().body).unwrap() };
    let full = |list: &str| {
        poll::until(PATIENCE, "a row", || {
            let answer = ask(&format!("/api/v1/{list}"));
            if answer[list][0].is_object() { Ok(answer) } else { Err(answer.to_string()) }
        })
    };
    let [allocations, sessions] = ["allocations", "sessions"].map(full);
    let refusal = ask("/api/v1/sessions?state=gone");
    let cases = [("Allocations", allocations.clone()), ("Sessions", sessions), ("Error", refusal)];
    for ((name, body), error) in cases.iter().zip(schema_errors(&description, &cases)) {
        assert!(error.is_empty(), "{name}: {error}\n{body:#}");
    }
    // Schemas that let everything through would say nothing.
    let mut wrong = Vec::new();
    for (at, value) in [
        ("/matched", json!("1")),
        ("/allocations/0/started", json!("today")),
        ("/allocations/0/state", json!("dead")),
    ] {
        let mut body = allocations.clone();
        *body.pointer_mut(at).unwrap() = value;
        wrong.push(("Allocations", body));
    }
    let mut longer = allocations;
    longer["allocations"][0]["surprise"] = json!(1);
    wrong.push(("Allocations", longer));
    for ((_, body), error) in wrong.iter().zip(schema_errors(&description, &wrong)) {
        assert!(!error.is_empty(), "{body:#}");
    }
}
