//! Programs that judge what came, and answers at random.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::common::servers::process::Tool;
use crate::receiver::{Received, Reply};

const PYTHON: Tool = Tool { program: "python3", package: "python3" };
const NODE: Tool = Tool { program: "node", package: "nodejs" };

/// Runs a program with something to read; gives what it printed, and whether it ended well.
pub(crate) fn run(tool: Tool, args: &[&str], input: &str) -> (bool, String) {
    let mut command = tool.command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}", tool.cannot_start(&error)));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

pub(crate) fn python(args: &[&str], input: &str) -> (bool, String) {
    run(PYTHON, args, input)
}

/// What a program that verifies signatures reads: secret, headers and body of one request.
fn case(secret: &str, request: &Received) -> String {
    json!({
        "secret": secret,
        "id": request.header("webhook-id"),
        "timestamp": request.header("webhook-timestamp"),
        "signature": request.header("webhook-signature"),
        "body": String::from_utf8(request.body.clone()).unwrap(),
    })
    .to_string()
}

/// Whether Python's `hmac` finds a signature with this secret on the request.
pub(crate) fn is_signed(secret: &str, request: &Received) -> bool {
    const PROGRAM: &str = r#"
import base64, hashlib, hmac, json, sys
case = json.load(sys.stdin)
secret = case["secret"]
key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
signed = (case["id"] + "." + case["timestamp"] + "." + case["body"]).encode()
mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
print("yes" if "v1," + mac in case["signature"].split(" ") else "no")
"#;
    let (is_well, said) = python(&["-c", PROGRAM], &case(secret, request));
    assert!(is_well, "{said}");
    said.trim() == "yes"
}

/// Whether the receiver's code of a document takes the request, and takes none that is changed.
pub(crate) fn check_verifier(language: &str, code: &str, secret: &str, request: &Received) {
    let mut changed = request.clone();
    changed.body[3] ^= 1;
    for (request, expected) in [(request, "True"), (&changed, "False")] {
        let case = case(secret, request);
        let (is_well, said) = if language == "python" {
            let program = format!(
                "{code}\nimport json, sys\ncase = json.load(sys.stdin)\n\
                     headers = {{'webhook-' + name: case[name] for name in ('id', 'timestamp', 'signature')}}\n\
                     print(verify(case['secret'], headers, case['body'].encode()))"
            );
            python(&["-c", &program], &case)
        } else {
            let program = format!(
                "{code}\nconst c = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n\
                     const headers = Object.fromEntries(['id', 'timestamp', 'signature'].map(n => ['webhook-' + n, c[n]]));\n\
                     console.log(verify(c.secret, headers, Buffer.from(c.body)) ? 'True' : 'False');"
            );
            run(NODE, &["-e", &program], &case)
        };
        assert!(is_well && said.trim() == expected, "{language}: {said}");
    }
}

/// For each event what its schema, or that of its `data`, has against it; empty where nothing.
pub(crate) fn schema_errors(events: &[Value]) -> Vec<String> {
    const PROGRAM: &str = r#"
import json, sys
try:
    import jsonschema
except ImportError:
    sys.exit("install Debian's package python3-jsonschema")
folder, events = sys.argv[1], json.load(sys.stdin)
def schema(name):
    with open(folder + "/" + name + ".schema.json") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
envelope = schema("envelope")
def errors(event):
    parts = (envelope, event), (schema(event["type"]), event["data"])
    return "; ".join(error.message for validator, part in parts for error in validator.iter_errors(part))
print(json.dumps([errors(event) for event in events]))
"#;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events");
    let events = Value::from(events.to_vec()).to_string();
    let (is_well, said) = python(&["-c", PROGRAM, folder.to_str().unwrap()], &events);
    assert!(is_well, "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Fails where an event is not as its schemas have it.
#[track_caller]
pub(crate) fn check_schemas(events: &[Value]) {
    for (event, error) in events.iter().zip(schema_errors(events)) {
        assert!(error.is_empty(), "{error}\n{event:#}");
    }
}

/// One of some answers, by a seed.
pub(crate) struct RandomReplies {
    random: Mutex<fastrand::Rng>,
    replies: Vec<Reply>,
}

impl RandomReplies {
    pub(crate) fn new(seed: u64, replies: &[Reply]) -> Self {
        Self { random: Mutex::new(fastrand::Rng::with_seed(seed)), replies: replies.to_vec() }
    }

    pub(crate) fn next(&self) -> Reply {
        let index = self.random.lock().unwrap().usize(..self.replies.len());
        self.replies[index].clone()
    }
}
