//! One connection: two flows between two sockets, until they end or the fault comes.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

use super::flow::Flow;
use super::plan::{Fault, Plan};
use super::{Carried, Shared};

/// How soon a connection notices that the link is down, that it is broken or that the proxy ends.
const GLANCE: Duration = Duration::from_millis(10);
/// How long both sides have to answer an orderly end before they are left.
const FAREWELL: Duration = Duration::from_secs(2);

struct Link<'a> {
    shared: &'a Shared,
    number: usize,
    client: TcpStream,
    server: TcpStream,
    up: Flow,
    down: Flow,
    met: bool,
}

/// How a connection goes on.
enum Next {
    Wait,
    Over,
    Fault(Fault),
}

/// Serves one connection to its end.
pub(super) fn serve(shared: &Shared, number: usize, plan: Plan, client: TcpStream) {
    if let Some(mut link) = begin(shared, number, plan, client) {
        // A side that resets the connection ends it for the other one in the same way.
        let fault = link.run().unwrap_or(Some(Fault::Reset));
        link.note();
        link.end(fault);
    }
    shared.state().carried[number].over = true;
}

fn begin(shared: &Shared, number: usize, plan: Plan, client: TcpStream) -> Option<Link<'_>> {
    while !is_up(shared)? {
        if broken(shared, number).is_some() {
            return None;
        }
        thread::sleep(GLANCE);
    }
    let server = TcpStream::connect(shared.target).ok()?;
    for side in [&client, &server] {
        side.set_nodelay(true).and_then(|()| side.set_nonblocking(true)).ok()?;
    }
    let (up, down) = (Flow::new(plan.up), Flow::new(plan.down));
    Some(Link { shared, number, client, server, up, down, met: false })
}

/// `None`: the proxy ends.
fn is_up(shared: &Shared) -> Option<bool> {
    let state = shared.state();
    (!state.stopped).then_some(state.is_up)
}

fn broken(shared: &Shared, number: usize) -> Option<Fault> {
    shared.state().broken.filter(|(before, _)| number < *before).map(|(_, fault)| fault)
}

impl Link<'_> {
    /// Until the end; returns what ended it before its time.
    fn run(&mut self) -> io::Result<Option<Fault>> {
        loop {
            let Some(is_up) = is_up(self.shared) else { return Ok(Some(Fault::Reset)) };
            if let Some(fault) = self.broken() {
                return Ok(Some(fault));
            }
            if !is_up {
                thread::sleep(GLANCE);
                continue;
            }
            match self.turn()? {
                Next::Wait => self.wait()?,
                Next::Over => return Ok(None),
                Next::Fault(fault) => return Ok(Some(fault)),
            }
        }
    }

    fn turn(&mut self) -> io::Result<Next> {
        let now = Instant::now();
        if self.up.has_room() {
            self.up.take(&self.client, now)?;
        }
        if self.down.has_room() {
            self.down.take(&self.server, now)?;
        }
        self.up.hand_on(&self.server, now)?;
        self.down.hand_on(&self.client, now)?;
        let fault = self.fault();
        self.note();
        let over = self.up.is_over() && self.down.is_over();
        Ok(fault.map_or(if over { Next::Over } else { Next::Wait }, Next::Fault))
    }

    /// The fault that ends the connection now. Those that don't are begun.
    fn fault(&mut self) -> Option<Fault> {
        for flow in [&mut self.up, &mut self.down] {
            match flow.due_fault() {
                Some(Fault::Flip) => self.met |= flow.flip(),
                Some(Fault::Deaf) => self.met = true,
                Some(fault @ (Fault::Fin | Fault::Reset | Fault::Stall)) => {
                    self.met = true;
                    return Some(fault);
                }
                None => {}
            }
        }
        None
    }

    fn broken(&self) -> Option<Fault> {
        broken(self.shared, self.number)
    }

    fn note(&self) {
        let carried = Carried { up: self.up.passed(), down: self.down.passed(), met: self.met, over: false };
        self.shared.state().carried[self.number] = carried;
    }

    /// Waits until something can move.
    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let due =
            [&self.up, &self.down].into_iter().filter_map(Flow::next_due).filter(|due| *due > now).min();
        let wait = due.map_or(GLANCE, |due| (due - now).min(GLANCE));
        let wants = |input: &Flow, output: &Flow| {
            let reads = input.has_room();
            let writes = output.is_due(now) && output.due_fault().is_none();
            (if reads { PollFlags::IN } else { PollFlags::empty() })
                | if writes { PollFlags::OUT } else { PollFlags::empty() }
        };
        let mut sides = [
            PollFd::new(&self.client, wants(&self.up, &self.down)),
            PollFd::new(&self.server, wants(&self.down, &self.up)),
        ];
        poll(&mut sides, Some(&timespec(wait)))?;
        // A side that has gone while nothing is wanted of it would be reported at once, again and again.
        let gone = PollFlags::HUP | PollFlags::ERR;
        if sides
            .iter()
            .any(|side| side.revents().intersects(gone) && !side.revents().intersects(PollFlags::IN))
        {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn end(&self, fault: Option<Fault>) {
        match fault {
            None => {}
            Some(Fault::Fin) => self.say_goodbye(),
            Some(Fault::Stall) => self.hold(),
            Some(Fault::Reset | Fault::Deaf | Fault::Flip) => self.reset(),
        }
    }

    fn reset(&self) {
        for side in [&self.client, &self.server] {
            // Closing it now is a reset.
            let _gone = set_socket_linger(side, Some(Duration::ZERO));
        }
    }

    /// Ends both sides in order, and takes what still comes, or the kernel would make it a reset.
    fn say_goodbye(&self) {
        for side in [&self.client, &self.server] {
            let _gone = side.shutdown(Shutdown::Write);
        }
        for mut side in [&self.client, &self.server] {
            let blocking = side.set_nonblocking(false).and_then(|()| side.set_read_timeout(Some(FAREWELL)));
            if blocking.is_ok() {
                let _gone = io::copy(&mut side, &mut io::sink());
            }
        }
    }

    /// Keeps both sides open until one of them gives up.
    fn hold(&self) {
        while is_up(self.shared).is_some() && self.broken().is_none_or(|fault| fault == Fault::Stall) {
            let mut sides =
                [PollFd::new(&self.client, PollFlags::RDHUP), PollFd::new(&self.server, PollFlags::RDHUP)];
            match poll(&mut sides, Some(&timespec(GLANCE))) {
                Ok(0) => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.reset();
    }
}

fn timespec(wait: Duration) -> Timespec {
    wait.try_into().expect("a glance is short")
}
