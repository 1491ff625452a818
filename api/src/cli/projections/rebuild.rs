//! `tradepost projections rebuild`: read models anew from the log.

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Failure, Place};

pub(super) async fn rebuild(place: &Place, names: &[String]) -> Result<(), Failure> {
    let known = projections::ALL.map(|model| model.name);
    for name in names {
        if !known.contains(&name.as_str()) {
            return Err(format!("there is no read model `{name}`; there are {}", known.join(", ")).into());
        }
    }
    for name in known.into_iter().filter(|name| names.is_empty() || names.iter().any(|wanted| wanted == name)) {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
            "{prefix:<18} [{bar:30}] {pos}/{len} events, {per_sec}, {eta} left",
        )?);
        bar.set_prefix(name);
        let progress = |position: i64, head: i64| {
            bar.set_length(head.unsigned_abs());
            bar.set_position(position.unsigned_abs());
        };
        projections::rebuild::rebuild(&place.database, name, progress).await?;
        bar.finish_and_clear();
        println!("{name}: rebuilt from {} events in {:.1} s", bar.length().unwrap_or(0), bar.elapsed().as_secs_f64());
    }
    Ok(())
}
