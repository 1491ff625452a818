//! Stand-in while the demo is being written.
/// Fills.
pub async fn fill(_: &crate::app::App, _: &mut dyn FnMut(&str)) -> Result<String, std::io::Error> {
    Ok(String::new())
}
