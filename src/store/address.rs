//! Addresses of Postgres: another database of the same server, a password that stands in a file.

use std::path::Path;

use crate::store::open::OpenError;
use crate::store::socket::percent_encoded;

/// The same address with the password of a file (its first line), unless it has one already.
///
/// # Errors
/// [`OpenError::PasswordFile`] when the file cannot be read or is empty.
pub fn with_password_of(url: &str, file: &Path) -> Result<String, OpenError> {
    let refused = |reason: String| OpenError::PasswordFile { path: file.to_owned(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let password = text.lines().next().filter(|line| !line.is_empty());
    let password = password.ok_or_else(|| refused("its first line is empty".to_owned()))?;
    if has_password(url) {
        return Ok(url.to_owned());
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    Ok(format!("{url}{separator}password={}", percent_encoded(password.as_bytes())))
}

/// The same address with another database.
#[must_use]
pub fn with_database(url: &str, database: &str) -> Option<String> {
    let (base, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
    let authority_at = base.find("://")? + 3;
    let path_at = base[authority_at..].find('/').map_or(base.len(), |p| authority_at + p);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    Some(format!("{}/{database}{query}", &base[..path_at]))
}

fn has_password(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || query.split('&').any(|parameter| parameter.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_replaced() {
        let cases = [
            ("postgres://u:p@host:5432/real", "postgres://u:p@host:5432/x"),
            ("postgres:///real?host=%2Ftmp&user=app", "postgres:///x?host=%2Ftmp&user=app"),
            ("postgres://host", "postgres://host/x"),
            ("postgres://u@host/real?password=a%2Fb", "postgres://u@host/x?password=a%2Fb"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_database(given, "x").as_deref(), Some(expected));
        }
        assert_eq!(with_database("nothing", "x"), None);
    }

    #[test]
    fn the_password_of_a_file_is_added_where_none_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p@ss/w&rd 1\nsecond line\n").unwrap();
        let cases = [
            ("postgres://u@host/db", "postgres://u@host/db?password=p%40ss/w%26rd%201"),
            ("postgres://host/db?user=u", "postgres://host/db?user=u&password=p%40ss/w%26rd%201"),
            ("postgres://u:own@host/db", "postgres://u:own@host/db"),
            ("postgres://u@host/db?password=own", "postgres://u@host/db?password=own"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_password_of(given, &file).unwrap(), expected);
        }
        for text in ["", "\n"] {
            std::fs::write(&file, text).unwrap();
            let refused = with_password_of("postgres://u@host/db", &file).unwrap_err().to_string();
            assert!(refused.contains("is empty") && refused.contains("password"), "{refused}");
        }
        let missing = with_password_of("postgres://u@host/db", &folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, OpenError::PasswordFile { .. }));
    }

    #[test]
    fn the_driver_reads_what_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "a+b%c&d=é").unwrap();
        let url = with_password_of("postgres://u@host/db", &file).unwrap();
        let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
        let written = sqlx::ConnectOptions::to_url_lossy(&options);
        assert_eq!(written.password(), Some("a%2Bb%25c%26d%3D%C3%A9"));
    }
}
