//! The fault proxy does what it says: a proxy that cuts nothing would prove nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use skiff_tests::fault_proxy::{Fault, Plan};
use skiff_tests::{FaultProxy, wait};

/// A server that sends back what it gets, until the end or a failure.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

fn connect(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    stream.set_nodelay(true).expect("a socket takes it");
    stream
}

/// Writes 1 MiB beside reading; returns what came back and how it ended.
fn exchange(stream: &TcpStream, sent: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    let (came, read, _) = exchange_both(stream, sent);
    (came, read)
}

/// With how reading and how writing ended: the system tells a reset to one of the two, and only once.
fn exchange_both(stream: &TcpStream, sent: &[u8]) -> (Vec<u8>, Option<ErrorKind>, Option<ErrorKind>) {
    let kind = |error: std::io::Error| error.kind();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut to = stream;
            to.write_all(sent).and_then(|()| to.shutdown(Shutdown::Write)).err().map(kind)
        });
        let mut came = Vec::new();
        let mut from = stream;
        let read = from.read_to_end(&mut came).err().map(kind);
        (came, read, writer.join().expect("the writer doesn't panic"))
    })
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|number| u8::try_from(number % 251).expect("below 251")).collect()
}

#[test]
fn without_a_plan_everything_passes() {
    let proxy = FaultProxy::to(echo());
    let sent = bytes(3 << 20);

    let (came, ended) = exchange(&connect(&proxy), &sent);

    assert!(came == sent && ended.is_none(), "{} bytes came, {ended:?}", came.len());
    assert!(wait::came_true(wait::LIMIT, || proxy.last().1.over));
    let (number, last) = proxy.last();
    assert_eq!((number, last.up, last.down, last.met), (1, 3 << 20, 3 << 20, false));
}

#[test]
fn cuts_come_after_exactly_that_many_bytes() {
    let proxy = FaultProxy::to(echo());
    for byte in [0, 1, 70_000] {
        let count = usize::try_from(byte).expect("it is small");
        proxy.next(Plan::down_at(byte, Fault::Fin));
        let (came, ended) = exchange(&connect(&proxy), &bytes(200_000));
        assert_eq!((came.len(), ended), (count, None), "an orderly end");

        proxy.next(Plan::down_at(byte, Fault::Reset));
        let (came, read, written) = exchange_both(&connect(&proxy), &bytes(200_000));
        assert_eq!(came.len(), count);
        let reset = Some(ErrorKind::ConnectionReset);
        assert!(read == reset || written == reset, "{read:?}, {written:?}");

        proxy.next(Plan::up_at(byte, Fault::Fin));
        let (came, _) = exchange(&connect(&proxy), &bytes(200_000));
        assert!(came.len() <= count);
        let last = proxy.last().1;
        assert_eq!((last.up, last.met), (byte, true));
    }
}

#[test]
fn one_bit_is_flipped() {
    let proxy = FaultProxy::to(echo());
    proxy.next(Plan::up_at(12_345, Fault::Flip));
    let mut sent = bytes(50_000);

    let (came, ended) = exchange(&connect(&proxy), &sent);

    sent[12_345] ^= 1;
    assert!(came == sent && ended.is_none());
    assert!(proxy.last().1.met);
}

#[test]
fn stalled_connection_stays_open_and_silent() {
    let proxy = FaultProxy::to(echo());
    proxy.next(Plan::up_at(5, Fault::Stall));
    let mut stream = connect(&proxy);
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");

    stream.write_all(&bytes(100)).expect("the kernel takes it");
    let mut came = Vec::new();
    let ended = stream.read_to_end(&mut came).expect_err("it is silent").kind();

    assert!(came.len() <= 5 && ended == ErrorKind::WouldBlock, "{came:?} {ended:?}");
    assert!(!proxy.last().1.over, "it stays open");
    drop(stream);
    assert!(wait::came_true(wait::LIMIT, || proxy.last().1.over), "until somebody gives up");
}

#[test]
fn delay_is_no_limit_and_a_limit_no_delay() {
    let proxy = FaultProxy::to(echo());
    proxy.next(Plan::default().round_trip(Duration::from_millis(200)));
    let start = Instant::now();
    let (came, _) = exchange(&connect(&proxy), &bytes(16 << 20));
    let took = start.elapsed();
    assert_eq!(came.len(), 16 << 20);
    // Waited for, piece by piece, these would be 256 round trips.
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");

    proxy.next(Plan::default().rate(1 << 20));
    let start = Instant::now();
    let (came, _) = exchange(&connect(&proxy), &bytes(1 << 20));
    let took = start.elapsed();
    assert_eq!(came.len(), 1 << 20);
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn link_that_is_down_moves_nothing_and_comes_back() {
    let proxy = FaultProxy::to(echo());
    let mut stream = connect(&proxy);
    stream.write_all(b"a").expect("the proxy reads");
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("it comes back");

    proxy.set_up(false);
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes a timeout");
    stream.write_all(b"b").expect("the kernel takes it");
    assert_eq!(stream.read(&mut byte).expect_err("it is down").kind(), ErrorKind::WouldBlock);
    proxy.set_up(true);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    stream.read_exact(&mut byte).expect("it comes back");
    assert_eq!(&byte, b"b");

    proxy.break_all(Fault::Reset);
    assert_eq!(stream.read(&mut byte).expect_err("it is broken").kind(), ErrorKind::ConnectionReset);
    connect(&proxy).write_all(b"c").expect("the next connection works");
}

/// A sender that is no longer listened to is stopped by its own full buffers; the other direction goes on.
#[test]
fn deaf_direction_takes_nothing_more() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = FaultProxy::to(listener.local_addr().expect("it listens").port());
    proxy.next(Plan::up_at(10, Fault::Deaf));
    let mut client = connect(&proxy);
    let (mut server, _) = listener.accept().expect("the proxy connects");
    client.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");

    let stuck = client.write_all(&bytes(64 << 20)).expect_err("the window closes").kind();
    assert_eq!(stuck, ErrorKind::WouldBlock);
    server.write_all(b"hello").expect("this direction is open");
    let mut came = [0; 5];
    client.read_exact(&mut came).expect("it comes");
    assert_eq!((&came, proxy.last().1.up), (b"hello", 10));
}
