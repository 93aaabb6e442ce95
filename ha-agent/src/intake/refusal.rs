//! Every reason to refuse a report, as a table: HTTP status, word for events and metrics, text for
//! the reporter. Nothing of what the reporter sent appears in any of them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $word:literal, $text:literal;)+) => {
        /// Why a report is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)+ }

        impl Refusal {
            /// All of them, in the order of their discriminants.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// HTTP status; 0 for lines of the FIFO.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// The short fixed word in events and metrics.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// One line for the reporter: what is wrong and what to do.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => concat!($text, "\n")),+ }
            }
        }
    };
}

refusals! {
    /// No `X-Neutron-Router-Id`.
    MissingRouterId = 400, "missing_router_id", "X-Neutron-Router-Id is missing: send it once, with the router's UUID";
    /// More than one.
    DuplicateRouterId = 400, "duplicate_router_id", "X-Neutron-Router-Id was sent more than once: send it once";
    /// Not a hyphenated UUID.
    BadRouterId = 400, "bad_router_id", "X-Neutron-Router-Id is not a UUID with hyphens";
    /// A name that no instance can have, or two names.
    BadInstanceName = 400, "bad_instance_name", "X-Ha-Agent-Router and X-Ha-Agent-Instance take one name in UTF-8, of 1 to 255 bytes";
    /// No `X-Neutron-State`.
    MissingState = 400, "missing_state", "X-Neutron-State is missing: send it once, as primary, master, backup, fault or unknown";
    /// More than one.
    DuplicateState = 400, "duplicate_state", "X-Neutron-State was sent more than once: send it once";
    /// Not one of the words, in their exact case.
    BadState = 400, "bad_state", "X-Neutron-State is none of primary, master, backup, fault, unknown (lower case)";
    /// Not HTTP/1, or a broken head. hyper answers these itself.
    MalformedRequest = 400, "malformed_request", "not an HTTP/1 request";
    /// A broken body.
    MalformedBody = 400, "malformed_body", "the body is broken: send none";
    /// A token is wanted and there is none.
    MissingToken = 401, "missing_token", "a token is wanted: send it once, as Authorization: Bearer";
    /// There is one, but not the right one.
    BadToken = 401, "bad_token", "the token in Authorization is not the one wanted here";
    /// Neither the agent's uid nor an allowed one.
    PeerNotAllowed = 403, "peer_not_allowed", "this user may not report states: see intake.allow_users";
    /// The user is bound to other routers.
    RouterNotGranted = 403, "router_not_granted", "this user may not report this router: see intake.grant";
    /// Not `/`.
    UnknownPath = 404, "unknown_path", "only / takes reports";
    /// Not watched here.
    UnknownRouter = 404, "unknown_router", "this router is not known here";
    /// No instance here has this name.
    NoSuchInstance = 404, "no_such_instance", "no router here has an instance of this name: ha-agent status lists them";
    /// Several have it.
    SeveralInstances = 409, "several_instances", "several routers have an instance of this name: name one of them";
    /// What keepalived said is about another instance than the router's.
    OtherInstance = 409, "other_instance", "this line is about another instance than this router's: correct --router in keepalived.conf";
    /// Head or body did not come in time.
    TooSlow = 408, "too_slow", "the request did not come in time";
    /// A body beyond what is read and thrown away.
    BodyTooLarge = 413, "body_too_large", "the body is too large: send none";
    /// The sender's rate is exceeded.
    TooManyRequests = 429, "too_many_requests", "too many requests from this user: see intake.max_requests_per_second";
    /// A head beyond the limit. hyper answers these itself.
    HeadersTooLarge = 431, "headers_too_large", "the headers are too large";
    /// The core has not taken what was reported before.
    QueueFull = 503, "queue_full", "too many reports are waiting: try again";
    /// This user's share of the connections is taken.
    TooManyConnections = 503, "too_many_connections", "too many connections from this user: see intake.max_connections";
    /// The agent ends.
    Stopping = 503, "stopping", "the agent is stopping: try again";
    /// No router has this name in `fifo_instance`.
    UnknownInstance = 0, "unknown_instance", "no router has this fifo_instance";
    /// Several routers have this name: a line does not say which namespace it comes from.
    AmbiguousInstance = 0, "ambiguous_instance", "several routers have this instance name";
    /// The FIFO is bound to other routers.
    InstanceNotGranted = 0, "instance_not_granted", "this FIFO may not report this router: see intake.grant";
    /// Not a line that keepalived writes.
    MalformedLine = 0, "malformed_line", "not a notify line";
    /// Beyond the limit for a line.
    LineTooLong = 0, "line_too_long", "the line is too long";
}

impl Refusal {
    /// Whether the reporter should come again soon.
    fn is_passing(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// Whether the connection ends with this answer: what follows on it cannot be trusted, nothing may
    /// follow, or there is too much of it.
    fn closes(self) -> bool {
        matches!(
            self,
            Self::MalformedBody | Self::BodyTooLarge | Self::TooSlow | Self::TooManyRequests | Self::Stopping
        )
    }

    /// The answer within a connection.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = text(status, self.text());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.is_passing() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The whole answer, for a connection that never gets as far as HTTP.
    pub(super) fn raw(self) -> String {
        let reason =
            StatusCode::from_u16(self.status()).ok().and_then(|status| status.canonical_reason()).unwrap_or("Refused");
        let retry = if self.is_passing() { "Retry-After: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             {retry}Connection: close\r\n\r\n{}",
            self.status(),
            self.text().len(),
            self.text(),
        )
    }
}

/// The answer to a report that was taken.
pub(super) fn taken() -> Response<Full<Bytes>> {
    text(StatusCode::OK, "taken\n")
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
