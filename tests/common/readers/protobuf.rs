//! Delimited `io.prometheus.client.MetricFamily`, read by its field numbers as `metrics.proto` has them; knows nothing of
//! the encoder.

use std::collections::BTreeMap;

/// A family as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: u64,
    pub unit: String,
    pub metrics: Vec<Metric>,
}

/// One series.
#[derive(Clone, Debug, Default)]
pub struct Metric {
    pub labels: BTreeMap<String, String>,
    /// Of a counter or a gauge.
    pub value: Option<f64>,
    pub histogram: Option<Histogram>,
    /// In seconds.
    pub created: Option<f64>,
}

/// Classic and native buckets.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    pub count: u64,
    pub sum: f64,
    /// Upper bounds with counts up to there.
    pub buckets: Vec<(f64, u64)>,
    pub schema: Option<i64>,
    pub zero_threshold: f64,
    pub zero_count: u64,
    spans: Vec<(i64, u64)>,
    deltas: Vec<i64>,
    /// Ids of allocations, values and moments.
    pub exemplars: Vec<(String, f64, f64)>,
}

impl Histogram {
    /// The native buckets by their index.
    pub fn native(&self) -> Vec<(i64, u64)> {
        let (mut index, mut count, mut deltas) = (0, 0_i64, self.deltas.iter());
        let mut buckets = Vec::new();
        for &(offset, length) in &self.spans {
            index += offset;
            for _ in 0..length {
                count += deltas.next().expect("a delta for each bucket of a span");
                buckets.push((index, u64::try_from(count).expect("a count")));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None, "more deltas than buckets");
        buckets
    }
}

/// The families of a page.
pub fn read(mut page: &[u8]) -> Vec<Family> {
    let mut families = Vec::new();
    while !page.is_empty() {
        let length = usize::try_from(varint(&mut page)).expect("a length");
        let (message, rest) = page.split_at(length);
        families.push(family(message));
        page = rest;
    }
    families
}

fn family(message: &[u8]) -> Family {
    let mut family = Family::default();
    for (number, field) in fields(message) {
        match number {
            1 => family.name = field.text(),
            2 => family.help = field.text(),
            3 => family.kind = field.number(),
            4 => family.metrics.push(metric(field.bytes())),
            5 => family.unit = field.text(),
            other => panic!("field {other} of a family"),
        }
    }
    family
}

fn metric(message: &[u8]) -> Metric {
    let mut metric = Metric::default();
    for (number, field) in fields(message) {
        match number {
            1 => {
                let (name, value) = label(field.bytes());
                assert_eq!(metric.labels.insert(name, value), None, "a label twice");
            }
            2 | 3 => {
                for (inner, field) in fields(field.bytes()) {
                    match inner {
                        1 => metric.value = Some(field.double()),
                        3 if number == 3 => metric.created = Some(moment(field.bytes())),
                        other => panic!("field {other} of a value"),
                    }
                }
            }
            7 => metric.histogram = Some(histogram(field.bytes(), &mut metric.created)),
            other => panic!("field {other} of a metric"),
        }
    }
    metric
}

fn histogram(message: &[u8], created: &mut Option<f64>) -> Histogram {
    let mut histogram = Histogram::default();
    for (number, field) in fields(message) {
        match number {
            1 => histogram.count = field.number(),
            2 => histogram.sum = field.double(),
            3 => {
                let (mut bound, mut count) = (f64::NAN, 0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => count = field.number(),
                        2 => bound = field.double(),
                        3 => drop(exemplar(field.bytes())),
                        other => panic!("field {other} of a bucket"),
                    }
                }
                histogram.buckets.push((bound, count));
            }
            5 => histogram.schema = Some(zigzag(field.number())),
            6 => histogram.zero_threshold = field.double(),
            7 => histogram.zero_count = field.number(),
            12 => {
                let (mut offset, mut length) = (0, 0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => offset = zigzag(field.number()),
                        2 => length = field.number(),
                        other => panic!("field {other} of a span"),
                    }
                }
                histogram.spans.push((offset, length));
            }
            13 => histogram.deltas.push(zigzag(field.number())),
            15 => *created = Some(moment(field.bytes())),
            16 => histogram.exemplars.push(exemplar(field.bytes())),
            other => panic!("field {other} of a histogram"),
        }
    }
    histogram
}

fn exemplar(message: &[u8]) -> (String, f64, f64) {
    let (mut id, mut value, mut at) = (String::new(), f64::NAN, f64::NAN);
    for (number, field) in fields(message) {
        match number {
            1 => {
                let (name, text) = label(field.bytes());
                assert_eq!(name, "allocation_id");
                id = text;
            }
            2 => value = field.double(),
            3 => at = moment(field.bytes()),
            other => panic!("field {other} of an exemplar"),
        }
    }
    (id, value, at)
}

fn label(message: &[u8]) -> (String, String) {
    let (mut name, mut value) = (String::new(), String::new());
    for (number, field) in fields(message) {
        match number {
            1 => name = field.text(),
            2 => value = field.text(),
            other => panic!("field {other} of a label"),
        }
    }
    (name, value)
}

fn moment(message: &[u8]) -> f64 {
    let (mut seconds, mut nanos) = (0, 0);
    for (number, field) in fields(message) {
        match number {
            1 => seconds = field.number(),
            2 => nanos = field.number(),
            other => panic!("field {other} of a moment"),
        }
    }
    seconds as f64 + nanos as f64 / 1e9
}

enum Field<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        if let Self::Number(number) = self { *number } else { panic!("no number") }
    }

    fn double(&self) -> f64 {
        if let Self::Double(number) = self { *number } else { panic!("no double") }
    }

    fn bytes(&self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("no bytes") }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("UTF-8")
    }
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => {
                let (number, rest) = message.split_first_chunk().expect("eight bytes");
                message = rest;
                Field::Double(f64::from_le_bytes(*number))
            }
            2 => {
                let length = usize::try_from(varint(&mut message)).expect("a length");
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes)
            }
            other => panic!("wire type {other}"),
        };
        Some((key >> 3, field))
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number that ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < &0x80 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
