//! Renders an app with the bases that it has in other repositories: those that are missing are brought, and it is rendered again.
//!
//! It does not know how they are brought, nor what becomes of what is rendered.

use overlays::{Error as Wrong, Errors, Fingerprint, Options, Remote, Rendered};
use tokio::sync::SemaphorePermit;

use super::{Error, Leader, Workshop, render, render_failures};
use crate::bases::{ROUNDS, Unbrought, pinned};
use crate::fleet::App;
use crate::report::Failure;

/// Why an app does not render.
pub(super) struct Unrendered {
    pub(super) failures: Vec<Failure>,
    /// Whether it may, once a repository answers.
    pub(super) is_transient: bool,
}

/// What an app renders to, what that came of, and the permit to go on.
type Outcome<'a> = Result<(Rendered, Fingerprint, SemaphorePermit<'a>), Unrendered>;

impl Leader {
    /// Renders an app. While something is brought for it, others may go on in its place.
    pub(super) async fn render<'a>(&'a self, workshop: &Workshop, app: &App, permit: SemaphorePermit<'a>) -> Result<Outcome<'a>, Error> {
        let mut permit = permit;
        let (bases, mut last) = (self.source.borrow().bases().clone(), Errors::default());
        for _ in 0..ROUNDS {
            let errors = match self.try_render(workshop, app).await? {
                Ok((rendered, print)) => {
                    bases.used_by(&app.name, rendered.inputs.paths());
                    return Ok(Ok((rendered, print, permit)));
                }
                Err(errors) => errors,
            };
            let missing: Vec<Remote> = errors.missing().into_iter().cloned().collect();
            if missing.is_empty() && bases.forget_damaged() {
                continue;
            }
            if missing.is_empty() {
                return Ok(Err(unrendered(app, errors, &[])));
            }
            drop(permit);
            let unbrought = bases.bring(&missing).await;
            permit = self.gate.acquire().await.map_err(|_| Error::LeaseLost)?;
            if !unbrought.is_empty() {
                return Ok(Err(unrendered(app, errors, &unbrought)));
            }
            last = errors;
        }
        Ok(Err(unrendered(app, pinned::told_too_deep(last), &[])))
    }

    async fn try_render(&self, workshop: &Workshop, app: &App) -> Result<Result<(Rendered, Fingerprint), Errors>, Error> {
        self.metrics.rendered();
        let app = app.clone();
        let rendered = workshop.run(move |tree, cache| {
            let rendered = render(&app, tree, &Options::default(), cache)?;
            let print = rendered.inputs.fingerprint(tree).map_err(Wrong::from)?;
            Ok::<_, Errors>((rendered, print))
        });
        rendered.await
    }

    /// Lets go of the bases that no app has any more.
    pub(super) fn keep_bases(&self) {
        let state = self.state.borrow();
        self.source.borrow().bases().keep_for(|app| state.apps.contains_key(app));
    }
}

fn unrendered(app: &App, errors: Errors, unbrought: &[Unbrought]) -> Unrendered {
    let errors = pinned::told(errors, unbrought.iter().map(|unbrought| unbrought.error.clone()));
    Unrendered { failures: render_failures(&app.name, &errors), is_transient: unbrought.iter().any(Unbrought::is_transient) }
}
