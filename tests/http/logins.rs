//! Logins, headers and the rate of requests.

use coturn_exporter::metrics::WebRefusal;
use coturn_exporter::reload::{Reload as _, Reread};

use crate::support::{Answer, Fixed, Running, patient};
use crate::tls::Setting;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn hash(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
}

async fn get(server: &Running, path: &str, login: &str) -> Answer {
    let mut client = server.client().await;
    client.ask_with(path, &format!("Authorization: Basic {}", STANDARD.encode(login))).await;
    client.answer().await
}

#[tokio::test]
async fn every_path_needs_a_login_but_the_probes_where_they_are_open() {
    let setting = Setting::new();
    let users = format!("basic_auth_users: {{alice: {}}}\n", hash("geheim"));
    for open in [false, true] {
        let text = if open { format!("{users}# open\n") } else { users.clone() };
        let (server, _) = setting.serve(&text, Fixed::small(), patient()).await;
        let paths = [
            "/metrics",
            "/",
            "/nowhere",
            "/-/healthy",
            "/-/ready",
            "/-/healthy/",
            "//-/healthy",
            "/-/healthy/../metrics",
            "/metrics?x=/-/healthy",
            "/allocations",
            "/-/page.js",
        ];
        let mut refused = 0;
        for path in paths {
            let is_open = open && matches!(path, "/-/healthy" | "/-/ready");
            let answer = server.get(path).await;
            assert_eq!(answer.status == 401, !is_open, "{path}");
            assert_eq!(get(&server, path, "alice:wrong").await.status == 401, !is_open, "{path}");
            if !is_open {
                assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="), "{answer:?}");
                assert_eq!(answer.header("cache-control"), Some("no-store"));
                refused += 2;
            }
            assert_ne!(get(&server, path, "alice:geheim").await.status, 401, "{path}");
        }
        assert_eq!(server.refusals.get(WebRefusal::Login), refused);
        // Whatever the method, and whatever it is that is refused.
        let mut client = server.client().await;
        client.ask("POST", "/metrics").await;
        assert_eq!(client.answer().await.status, 401);
        client.ask("HEAD", "/metrics").await;
        let head = client.answer_without_body().await;
        assert_eq!((head.status, head.header("content-length")), (401, Some("17")));
        assert_eq!(get(&server, "/metrics", "alice:geheim").await.text(), "up 1\n");
    }
}

#[tokio::test]
async fn a_password_changes_while_both_are_accepted() {
    let setting = Setting::new();
    let users = |users: &[(&str, &str)]| {
        users.iter().fold("basic_auth_users:\n".to_owned(), |text, (user, password)| {
            format!("{text}  {user}: {}\n", hash(password))
        })
    };
    let (server, config) = setting.serve(&users(&[("old", "1")]), Fixed::small(), patient()).await;
    let statuses = async || {
        [get(&server, "/metrics", "old:1").await.status, get(&server, "/metrics", "new:2").await.status]
    };
    assert_eq!(statuses().await, [200, 401]);
    for (next, expected) in [(&[("old", "1"), ("new", "2")][..], [200, 200]), (&[("new", "2")], [401, 200])] {
        setting.write("web.yml", &users(next));
        assert!(matches!(config.reload(false), Reread::Changed { .. }));
        assert_eq!(statuses().await, expected);
    }
}

#[tokio::test]
async fn headers_are_those_of_the_file_on_every_answer() {
    let setting = Setting::new();
    let text = format!(
        "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=60\n    Content-Security-Policy: \
         default-src 'self'\n    X-Frame-Options: deny\nbasic_auth_users: {{alice: {}}}\n",
        hash("geheim")
    );
    let (server, _) = setting.serve(&text, Fixed::small(), patient()).await;
    let answers = [
        server.get("/metrics").await,
        get(&server, "/metrics", "alice:geheim").await,
        get(&server, "/", "alice:geheim").await,
        get(&server, "/nowhere", "alice:geheim").await,
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [401, 200, 200, 404]);
    for answer in answers {
        for (name, value) in [
            ("strict-transport-security", "max-age=60"),
            ("content-security-policy", "default-src 'self'"),
            ("x-frame-options", "deny"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        assert_eq!(answer.head.to_ascii_lowercase().matches("content-security-policy").count(), 1);
    }
}

#[tokio::test]
async fn more_requests_than_may_come_are_told_to_come_later() {
    let setting = Setting::new();
    let text = "rate_limit: {interval: 1h, burst: 3}";
    let (server, config) = setting.serve(text, Fixed::small(), patient()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(server.get("/metrics").await.status);
    }
    setting.write("web.yml", &format!("{text}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}"));
    assert!(matches!(config.reload(false), Reread::Changed { .. }));
    let late = server.get("/-/healthy").await;
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(
        (late.status, late.header("retry-after")),
        (429, Some("2")),
        "a file that is read again does not begin anew"
    );
    server.refused(WebRefusal::Rate, 2).await;
}
