//! What goes wrong again and again, told once.

use std::sync::Mutex;

use crate::lock::lock;

/// Why something does not work, as long as it does not.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// It goes wrong. Whether that is news.
    pub(crate) fn is_news(&self, why: &str) -> bool {
        let mut known = lock(&self.0);
        let is_news = known.as_deref() != Some(why);
        if is_news {
            *known = Some(why.to_owned());
        }
        is_news
    }

    /// It works. Whether it did not before.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.0).take().is_some()
    }
}
