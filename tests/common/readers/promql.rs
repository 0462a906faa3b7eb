//! What a query selects, and within which functions.

use std::time::Duration;

use promql_parser::parser::{self, Expr, VectorSelector};

/// A selector in a query.
#[derive(Clone, Debug)]
pub struct Selected {
    pub metric: String,
    /// Name, operator and value of each matcher.
    pub matchers: Vec<(String, String, String)>,
    /// In brackets.
    pub range: Option<Duration>,
    /// The functions around it, the innermost first.
    pub within: Vec<String>,
}

/// All selectors of a query.
pub fn selectors(query: &str) -> Result<Vec<Selected>, String> {
    let mut found = Vec::new();
    walk(&parser::parse(query)?, &mut Vec::new(), &mut found);
    Ok(found)
}

fn walk(expression: &Expr, within: &mut Vec<String>, found: &mut Vec<Selected>) {
    match expression {
        Expr::Aggregate(aggregate) => {
            if let Some(parameter) = &aggregate.param {
                walk(parameter, within, found);
            }
            walk(&aggregate.expr, within, found);
        }
        Expr::Unary(unary) => walk(&unary.expr, within, found),
        Expr::Binary(binary) => {
            walk(&binary.lhs, within, found);
            walk(&binary.rhs, within, found);
        }
        Expr::Paren(paren) => walk(&paren.expr, within, found),
        Expr::Subquery(subquery) => walk(&subquery.expr, within, found),
        Expr::Call(call) => {
            within.insert(0, call.func.name.to_owned());
            for argument in &call.args.args {
                walk(argument, within, found);
            }
            within.remove(0);
        }
        Expr::VectorSelector(selector) => found.push(selected(selector, None, within)),
        Expr::MatrixSelector(matrix) => found.push(selected(&matrix.vs, Some(matrix.range), within)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(_) => panic!("the parser makes none"),
    }
}

fn selected(selector: &VectorSelector, range: Option<Duration>, within: &[String]) -> Selected {
    let matchers = selector.matchers.matchers.iter();
    Selected {
        metric: selector.name.clone().unwrap_or_default(),
        matchers: matchers
            .map(|matcher| (matcher.name.clone(), matcher.op.to_string(), matcher.value.clone()))
            .collect(),
        range,
        within: within.to_vec(),
    }
}
