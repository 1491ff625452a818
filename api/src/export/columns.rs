//! Which columns of read models are exported. Numbers, times and ids are, unless the table `columns.tsv` says that they
//! are not; a text only if it says so: whatever somebody has said of themselves or of others stays where it can be forgotten.
//!
//! **Invariant:** a text that is not in the table is not exported, so a new one cannot slip out; a test asks for it.

/// The table.
const TABLE: &str = include_str!("columns.tsv");

/// Whether a column of a read model is exported; nothing if nobody has said so.
pub fn is_exported(model: &str, table: &str, column: &str) -> Option<bool> {
    let wanted = [model, table, column];
    rows().find(|(name, _)| *name == wanted).map(|(_, exported)| exported)
}

/// The columns of the table: model, table and column, and whether it is exported.
pub fn rows() -> impl Iterator<Item = ([&'static str; 3], bool)> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut fields = line.split('\t');
        let name = [fields.next()?, fields.next()?, fields.next()?];
        Some((name, fields.next()? == "yes"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_says_each_thing_once() {
        let names: Vec<_> = rows().map(|(name, _)| name).collect();
        assert_eq!(names.len(), TABLE.lines().count() - 1, "a line is not as the others");
        assert!(TABLE.lines().skip(1).all(|line| line.ends_with("\tyes") || line.ends_with("\tno")));
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "a column is there twice");
    }

    #[test]
    fn what_people_say_of_themselves_is_not_exported() {
        for (model, table, column) in [
            ("accounts", "profiles", "email"),
            ("addresses", "addresses", "line1"),
            ("chats", "activity", "body"),
            ("orders", "orders", "ship_to"),
            ("stores", "stores", "words"),
        ] {
            assert_eq!(is_exported(model, table, column), Some(false), "{model}.{table}.{column}");
        }
        assert_eq!(is_exported("orders", "orders", "status"), Some(true));
        assert_eq!(is_exported("orders", "orders", "new"), None);
    }
}
