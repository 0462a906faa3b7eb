//! What the packages are made from: the lists of files in Cargo.toml, and versions. `make packages-test` tries the packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `[package]` of Cargo.toml.
fn package() -> Value {
    let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"][0].clone()
}

/// Source, place and rights of each file of a package.
fn files(package: &Value, kind: &str) -> BTreeSet<(String, String, String)> {
    let assets = package["metadata"][kind]["assets"].as_array().unwrap();
    let text = |asset: &Value, name: &str| asset[name].as_str().map(str::to_owned);
    let file = |asset: &Value| {
        let dest = text(asset, "dest").unwrap();
        let dest = format!("/{}", dest.trim_start_matches('/'));
        Some((text(asset, "source")?, dest, text(asset, "mode").unwrap()))
    };
    assets.iter().filter_map(file).collect()
}

#[test]
fn the_packages_have_the_same_files() {
    let package = package();
    // The habits of Debian.
    let debian = |(source, dest, mode): (String, String, String)| {
        let dest = dest.replace("/zsh/vendor-completions/", "/zsh/site-functions/");
        (!dest.contains("/lintian/")).then_some((source, dest, mode))
    };
    let deb: BTreeSet<_> = files(&package, "deb").into_iter().filter_map(debian).collect();
    assert!(deb.len() > 10, "{deb:?}");
    assert_eq!(deb, files(&package, "generate-rpm"));
}

#[test]
fn what_is_packaged_is_there() {
    let mut missing = Vec::new();
    for (source, ..) in files(&package(), "deb") {
        let path = root().join(&source);
        let is_there = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
            // `make deb` builds it.
            _ if source.starts_with("target/") => true,
            (Some(folder), Some(name)) if name.starts_with('*') => {
                std::fs::read_dir(folder).is_ok_and(|found| {
                    found.flatten().any(|file| file.path().to_string_lossy().ends_with(&name[1..]))
                })
            }
            _ => path.is_file(),
        };
        if !is_there {
            missing.push(source);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_changelog_of_the_debian_package_begins_with_this_version_and_names_the_maintainer() {
    let changelog = std::fs::read_to_string(root().join("packaging/deb/changelog")).unwrap();
    let version = package()["version"].as_str().unwrap().to_owned();
    let expected = format!("prometheus-coturn-exporter ({version}-1) ");
    assert!(changelog.starts_with(&expected), "{}", changelog.lines().next().unwrap());
    // Who maintains it is written in Cargo.toml.
    let maintainer = package()["metadata"]["deb"]["maintainer"].as_str().unwrap().to_owned();
    let signed = changelog.lines().find(|line| line.starts_with(" -- ")).unwrap();
    assert!(signed.starts_with(&format!(" -- {maintainer}  ")), "{signed}");
}

#[test]
fn the_rpm_makes_the_user_of_the_unit_and_the_file_for_sysusers() {
    let read = |path: &str| std::fs::read_to_string(root().join("packaging").join(path)).unwrap();
    let unit = read("systemd/prometheus-coturn-exporter.service");
    let user = unit.lines().find_map(|line| line.strip_prefix("User=")).unwrap();
    let sysusers = read("sysusers.d/prometheus-coturn-exporter.conf");
    let home = sysusers.split_whitespace().find(|word| word.starts_with("/var/")).unwrap();
    assert!(sysusers.starts_with(&format!("u {user} ")), "{sysusers}");
    let script = read("rpm/pre-install.sh");
    assert!(
        script.contains(&format!("groupadd -r {user}")) && script.contains(&format!("-d {home} ")),
        "{script}"
    );
    assert!(read("deb/scripts/postrm").contains(&format!("rm -rf {home}\n")));
}
