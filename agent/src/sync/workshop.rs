//! The files of a revision and the blobs that were parsed already, kept open while something is rendered from them. It does not know what.

use std::sync::{Arc, Mutex, PoisonError};

use overlays::Cache;
use overlays::tree::Tree;

use super::{Error, KEPT_BLOBS, Leader, blocking};
use crate::git::Revision;

/// A revision's files and the blobs that were parsed already. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workshop(Arc<Mutex<(Box<dyn Tree>, Cache)>>);

/// What is kept between two renderings.
#[derive(Default)]
pub(crate) struct Shop {
    open: Option<(Revision, Workshop)>,
    /// Blobs that were parsed for earlier revisions, while no workshop is open that has them.
    cache: Option<Cache>,
}

impl Workshop {
    fn new(tree: Box<dyn Tree>, cache: Cache) -> Self {
        Self(Arc::new(Mutex::new((tree, cache))))
    }

    /// Runs on the thread for rendering with the revision's files and the parsed blobs.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce(&dyn Tree, &mut Cache) -> T + Send + 'static) -> Result<T, Error> {
        let shop = self.clone();
        blocking(move || {
            let mut shop = shop.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (tree, cache) = &mut *shop;
            work(&**tree, cache)
        })
        .await
    }

    /// The blobs that were parsed, if nobody else works here.
    fn into_cache(self) -> Option<Cache> {
        Some(Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner).1)
    }
}

impl Shop {
    /// Closes the files; what was parsed stays.
    fn close(&mut self) {
        let cache = self.open.take().and_then(|(_, workshop)| workshop.into_cache());
        self.cache = cache.or(self.cache.take());
    }

    fn open(&mut self, revision: Revision, tree: Box<dyn Tree>) -> Workshop {
        self.close();
        let workshop = Workshop::new(tree, self.cache.take().unwrap_or_else(|| Cache::with_limit(KEPT_BLOBS)));
        self.open = Some((revision, workshop.clone()));
        workshop
    }
}

impl Leader {
    /// Opens the files of a revision, which are the ones to work with from now on.
    pub(super) fn open(&self, revision: &Revision, tree: Box<dyn Tree>) -> Workshop {
        self.shop.borrow_mut().open(revision.clone(), tree)
    }

    /// The files of a revision, opened if they are not.
    pub(crate) async fn workshop(&self, revision: &Revision) -> Result<Workshop, Error> {
        if let Some((_, workshop)) = self.shop.borrow().open.as_ref().filter(|(open, _)| open == revision) {
            return Ok(workshop.clone());
        }
        let (source, wanted) = (self.source.borrow().clone(), revision.clone());
        let tree = blocking(move || source.tree(&wanted)).await??;
        Ok(self.open(revision, tree))
    }

    /// Closes the files, for nothing was rendered for a while. What was parsed stays.
    pub(crate) fn close_files(&self) {
        self.shop.borrow_mut().close();
    }
}
