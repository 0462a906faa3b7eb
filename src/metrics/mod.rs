//! The page: what the table knows, as Prometheus text. The only user of the `prometheus` crate.

/// The page, rendered afresh for each scrape.
pub trait Render: Send + Sync + 'static {
    /// The `Content-Type` of what [`Render::render`] gives.
    fn content_type(&self) -> &'static str;

    /// The page as of now.
    ///
    /// # Errors
    ///
    /// A sentence for the scraper when no page can be made; it is answered with status 500.
    fn render(&self) -> Result<Vec<u8>, String>;
}
