//! Which labels of our own metrics the result of a query has, by its text alone; labels of the target (`job`, `instance`,
//! `cluster`, ...) go through it, or it is an error.

use std::collections::BTreeSet;

use promql_parser::parser::{self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier};

/// Names of labels.
pub type Names = BTreeSet<String>;

/// The labels of the result beside the target's, where `known` gives those of a metric; or what is wrong: an aggregation
/// or a join that lists what it keeps, or a join that leaves out too little or too much.
pub fn own_labels(query: &str, known: &dyn Fn(&str) -> Option<Names>) -> Result<Names, String> {
    Ok(of(&parser::parse(query)?, known)?.unwrap_or_default())
}

/// `None`: a number without labels.
fn of(expression: &Expr, known: &dyn Fn(&str) -> Option<Names>) -> Result<Option<Names>, String> {
    match expression {
        Expr::Aggregate(aggregate) => of_aggregate(aggregate, known).map(Some),
        Expr::Binary(binary) => of_binary(binary, known),
        Expr::Call(call) => of_call(call, known),
        Expr::Unary(unary) => of(&unary.expr, known),
        Expr::Paren(paren) => of(&paren.expr, known),
        Expr::Subquery(subquery) => of(&subquery.expr, known),
        Expr::VectorSelector(selector) => of_metric(selector.name.as_deref(), known),
        Expr::MatrixSelector(matrix) => of_metric(matrix.vs.name.as_deref(), known),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(None),
        Expr::Extension(_) => Err("the parser makes none".to_owned()),
    }
}

fn of_metric(name: Option<&str>, known: &dyn Fn(&str) -> Option<Names>) -> Result<Option<Names>, String> {
    let name = name.ok_or("a selector without a name")?;
    known(name).map(Some).ok_or_else(|| format!("there is no {name}"))
}

fn of_aggregate(aggregate: &AggregateExpr, known: &dyn Fn(&str) -> Option<Names>) -> Result<Names, String> {
    let inner = of(&aggregate.expr, known)?.unwrap_or_default();
    let chooses = ["topk", "bottomk"].contains(&aggregate.op.to_string().as_str());
    let Some(LabelModifier::Exclude(without)) = &aggregate.modifier else {
        return Err(format!("no `without`: {aggregate}"));
    };
    let without: Names = without.labels.iter().cloned().collect();
    match without.difference(&inner).next() {
        Some(needless) => Err(format!("nothing has {needless}: {aggregate}")),
        // What is chosen is kept as it is.
        None if chooses => Ok(inner),
        None => Ok(&inner - &without),
    }
}

fn of_binary(binary: &BinaryExpr, known: &dyn Fn(&str) -> Option<Names>) -> Result<Option<Names>, String> {
    let (left, right) = match (of(&binary.lhs, known)?, of(&binary.rhs, known)?) {
        (Some(left), Some(right)) => (left, right),
        (one, other) => return Ok(one.or(other)),
    };
    if binary.op.to_string() == "or" {
        // Either side, as it is.
        return Ok(Some(&left | &right));
    }
    let ignored: Names = match binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
        Some(LabelModifier::Include(_)) => return Err(format!("a join `on`: {binary}")),
        Some(LabelModifier::Exclude(ignored)) => ignored.labels.iter().cloned().collect(),
        None => Names::new(),
    };
    if &left - &ignored != &right - &ignored {
        return Err(format!("{left:?} and {right:?} never match, ignoring {ignored:?}: {binary}"));
    }
    if let Some(needless) = ignored.difference(&(&left | &right)).next() {
        return Err(format!("nothing has {needless}: {binary}"));
    }
    // `and` and `unless` keep the left side; between numbers that are matched one to one, what is ignored is gone.
    let keeps =
        binary.op.is_set_operator() || binary.modifier.as_ref().is_some_and(|it| it.card.labels().is_some());
    Ok(Some(if keeps { left } else { &left - &ignored }))
}

fn of_call(call: &Call, known: &dyn Fn(&str) -> Option<Names>) -> Result<Option<Names>, String> {
    let mut labels = None;
    for argument in &call.args.args {
        labels = of(argument, known)?.or(labels);
    }
    match (call.func.name, labels) {
        ("histogram_quantile", Some(mut labels)) => {
            if labels.remove("le") {
                Ok(Some(labels))
            } else {
                Err(format!("no buckets: {call}"))
            }
        }
        ("label_replace", Some(mut labels)) => {
            if let Some(Expr::StringLiteral(label)) = call.args.args.get(1).map(AsRef::as_ref) {
                labels.insert(label.val.clone());
            }
            Ok(Some(labels))
        }
        (_, labels) => Ok(labels),
    }
}
