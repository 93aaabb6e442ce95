//! One job → its outcome.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::child::{Ended, Running};
use super::leash::Leash;
use super::plan::{Conntrackd, HookCall, Ipv6, StateFile};
use super::report::{Failure, Kind, Report};
use super::{conntrackd, hook, ipv6, state_file};
use crate::config::Netns;
use crate::core::model::{RouterId, State};
use crate::inventory;
use crate::netns::NetnsThread;

/// For a file, for the settings of a namespace, for each call of conntrackd.
const LIMIT: Duration = Duration::from_secs(5);

/// What is written within a millisecond, in this order.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) state_file: Option<StateFile>,
    pub(super) ipv6: Option<Ipv6>,
}

/// Does the work. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// The thread that may: it alone writes files and starts programs.
    pub(super) hands: NetnsThread,
    pub(super) leash: Leash,
    pub(super) report: Report,
    pub(super) stop: CancellationToken,
}

impl Worker {
    pub(super) async fn files(&self, router: RouterId, state: State, work: Files) {
        if let Some(file) = work.state_file {
            let begun = Instant::now();
            let result = within(LIMIT, self.by_hand(Netns::Own, move || state_file::write(&file))).await;
            self.report.ended((router, Kind::StateFile, state), begun.elapsed(), result);
        }
        if let Some(ipv6) = work.ipv6 {
            let begun = Instant::now();
            let result = within(LIMIT, self.ipv6(ipv6)).await;
            self.report.ended((router, Kind::Ipv6, state), begun.elapsed(), result);
        }
    }

    async fn ipv6(&self, Ipv6 { folder, netns, primary }: Ipv6) -> Result<(), Failure> {
        let fetched = self.by_hand(Netns::Own, move || {
            let conf = ipv6::is_enabled().then(|| inventory::fetch(&folder));
            Ok::<_, Infallible>(conf)
        });
        let Some(conf) = fetched.await? else { return Ok(()) };
        // What others wrote is understood by a thread that may do nothing.
        let gateways = inventory::gateways(conf).map_err(Failure::because)?;
        let settings = ipv6::settings(primary, &gateways);
        if settings.is_empty() {
            return Ok(());
        }
        self.by_hand(netns, move || ipv6::apply(&settings)).await
    }

    pub(super) async fn conntrackd(&self, router: RouterId, state: State, work: Conntrackd) {
        let begun = Instant::now();
        let leash = self.leash.clone();
        let ready = self.by_hand(Netns::Own, move || {
            leash.ready();
            Ok::<_, Infallible>(())
        });
        let mut failed = within(LIMIT, ready).await.err();
        for option in work.options {
            let Err(failure) = self.conntrackd_call(router, &work, option).await else { continue };
            let reason = format!("conntrackd {option}: {}", failure.reason);
            // Who does not answer one call answers no other; who could not be called neither.
            let hopeless = failure.timed_out || failure.exit_status.is_none();
            match &mut failed {
                Some(first) => first.reason = format!("{}; {reason}", first.reason),
                None => failed = Some(Failure { reason, ..failure }),
            }
            if hopeless {
                break;
            }
        }
        self.report.ended((router, Kind::Conntrackd, state), begun.elapsed(), failed.map_or(Ok(()), Err));
    }

    async fn conntrackd_call(&self, router: RouterId, work: &Conntrackd, option: &'static str) -> Result<(), Failure> {
        let (folder, leash) = (work.folder.clone(), self.leash.clone());
        // The program has the namespace of the thread that starts it.
        let started = self.by_hand(work.netns.clone(), move || {
            let program = conntrackd::program(&folder, option).map_err(Failure::because)?;
            program.start(&leash).map_err(Failure::because)
        });
        let started = within(LIMIT, started);
        self.end(router, Kind::Conntrackd, started.await?, LIMIT).await
    }

    pub(super) async fn hook(&self, router: RouterId, state: State, call: HookCall, limit: Duration) {
        let begun = Instant::now();
        let name = call.hook.program.display().to_string();
        let leash = self.leash.clone();
        let started = self.by_hand(Netns::Own, move || {
            leash.ready();
            let program = hook::program(&call).map_err(|error| error.to_string())?;
            program.start(&leash).map_err(|error| error.to_string())
        });
        let result = match started.await {
            Ok(running) => self.end(router, Kind::Hook, running, limit).await,
            Err(failure) => Err(failure),
        };
        let result = result.map_err(|failure| Failure { reason: format!("{name}: {}", failure.reason), ..failure });
        self.report.ended((router, Kind::Hook, state), begun.elapsed(), result);
    }

    /// Does it on the thread that may, in a namespace.
    async fn by_hand<T: Send + 'static, E: ToString>(
        &self,
        netns: Netns,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.hands.run_in(netns, move || work().map_err(Failure::because)).await;
        done.map_err(Failure::because)?
    }

    /// Waits for a program's end; what it wrote becomes diagnostics.
    async fn end(&self, router: RouterId, kind: Kind, running: Running, limit: Duration) -> Result<(), Failure> {
        let (ended, output) = running.end(limit, &self.stop, &self.hands).await.map_err(Failure::because)?;
        if !output.is_empty() {
            tracing::info!(%router, action = kind.as_str(), "it wrote: {output}");
        }
        judge(ended, limit)
    }
}

fn judge(ended: Ended, limit: Duration) -> Result<(), Failure> {
    use std::os::unix::process::ExitStatusExt as _;
    match ended {
        Ended::By(status) if status.success() => Ok(()),
        Ended::By(status) => {
            let reason = match (status.code(), status.signal()) {
                (Some(code), _) => format!("it ended with status {code}"),
                (None, Some(signal)) => format!("it was killed by signal {signal}"),
                (None, None) => "it ended badly".to_owned(),
            };
            Err(Failure { reason, exit_status: status.code(), timed_out: false })
        }
        Ended::TimedOut => Err(Failure {
            reason: format!("it did not end within {limit:?} and was killed with all it started"),
            exit_status: None,
            timed_out: true,
        }),
        Ended::Stopped => Err(Failure::because("it was killed because the agent stops")),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure { reason: format!("not done within {limit:?}"), exit_status: None, timed_out: true })
    })
}
