//! Submissions that misbehave, one a mode: `hostile MODE ARGUMENTS…`. What goes on as an exchange starts the real one,
//! which lies beside it as `exchange-itself`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mode, arguments) = arguments.split_first().expect("a mode");
    match mode.as_str() {
        "fork-bomb" => fork_bomb(),
        "memory" => memory(),
        "disk" => fill(&std::env::var("OPTIVEX_DATA_DIR").expect("a data folder")),
        "tmp" => fill("/tmp"),
        "big-file" => big_file(),
        "log" => log(),
        "sleeper" => sleeper(),
        "crash" => std::process::abort(),
        "crash-late" => crash_late(),
        "daemon" => daemonized(),
        "scanner" => scanner(),
        "reader" => reader(arguments),
        "hang" => hang(),
        "parrot" => parrot(),
        "escape" => escape(),
        other => panic!("{other}?"),
    }
}

fn exchange() -> Command {
    let mut command = Command::new("/app/bin/exchange-itself");
    command.arg("serve");
    command
}

/// Goes on as the real exchange.
fn be_an_exchange() -> ! {
    panic!("{}", exchange().exec());
}

/// Bounded by the sandbox alone; each child does the same.
fn fork_bomb() {
    let myself = std::env::current_exe().expect("a path");
    loop {
        match Command::new(&myself).arg("fork-bomb").spawn() {
            Ok(child) => std::mem::forget(child),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn memory() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(vec![1; 8 << 20]);
        std::hint::black_box(&all);
    }
}

/// Files of all sizes, until there is no room, and then again.
fn fill(folder: &str) {
    let block = vec![7; 1 << 20];
    for number in 0_u64.. {
        let path = Path::new(folder).join(format!("{number}"));
        let Ok(mut file) = File::create(path) else { continue };
        for _ in 0..16 {
            if file.write_all(&block).is_err() {
                break;
            }
        }
    }
}

fn big_file() {
    let folder = std::env::var("OPTIVEX_DATA_DIR").expect("a data folder");
    let mut file = File::create(Path::new(&folder).join("big")).expect("a file");
    loop {
        file.write_all(&[7; 1 << 16]).expect("written");
    }
}

fn log() {
    let line = [b'x'; 4096];
    let mut out = std::io::stdout();
    while out.write_all(&line).is_ok() {}
}

fn ignore_sigterm() {
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, ignored).expect("a handler");
}

fn sleeper() {
    ignore_sigterm();
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Serves, and dies of the hundredth piece of what it is sent.
fn crash_late() {
    let heard = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut child = proxied(move |_| {
        if heard.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 100 {
            std::process::exit(3);
        }
    });
    let _ = child.wait();
}

/// A grandchild in a session of its own outlives whoever is killed by group.
fn daemonized() {
    let myself = std::env::current_exe().expect("a path");
    let status = Command::new("setsid")
        .args(["--fork"])
        .arg(&myself)
        .arg("sleeper")
        .status();
    println!("daemonized: {status:?}");
    be_an_exchange()
}

/// Looks for anybody who listens, and goes on as an exchange.
fn scanner() {
    let mut found = Vec::new();
    let addresses = [
        "127.0.0.1",
        "127.0.0.53",
        "::1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
    ];
    for address in addresses {
        let address: IpAddr = address.parse().expect("an address");
        // All ports where they answer at once; elsewhere those that matter.
        let ports: Vec<u16> = match address.is_loopback() {
            true => (1..=u16::MAX).collect(),
            false => vec![22, 53, 80, 443],
        };
        for port in ports {
            let to = SocketAddr::new(address, port);
            // A socket whose own port is the one it asks for is connected to itself.
            let somebody = |stream: TcpStream| stream.local_addr().ok() != stream.peer_addr().ok();
            if TcpStream::connect_timeout(&to, Duration::from_millis(20)).is_ok_and(somebody) {
                found.push(to);
            }
        }
    }
    println!("scanned, and found {found:?}");
    for socket in [
        "/var/run/docker.sock",
        "/run/systemd/private",
        "/run/dbus/system_bus_socket",
    ] {
        let connected = std::os::unix::net::UnixStream::connect(socket).is_ok();
        println!("{socket}: {connected}");
    }
    be_an_exchange()
}

/// Tries to read what it was told about, and whatever lies around.
fn reader(paths: &[String]) {
    let usual = [
        "/etc/shadow",
        "/root/.ssh",
        "/home",
        "/tmp/cell",
        "/var/lib/optivex",
        "/proc/1/root/tmp/cell",
        "/proc/1/environ",
    ];
    for path in paths.iter().map(String::as_str).chain(usual) {
        let text = fs::read_to_string(path).map(|text| text.replace('\0', " "));
        let names =
            fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
        println!("READ {path}: {text:?} {names:?}");
    }
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    for process in processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
        println!("PROCESS {:?}", fs::read_to_string(process.path().join("cmdline")));
    }
    let written = ["/app/x", "/usr/x", "/etc/x", "/x", "/dev/x", "/optivex/x"]
        .map(|path| OpenOptions::new().create(true).append(true).open(path).is_ok());
    println!("WRITTEN {written:?}");
    be_an_exchange()
}

/// Tries each way out that the sandbox has to close: by programs, and by the system calls themselves, since a program
/// that is not installed proves nothing.
fn escape() {
    for arguments in [
        &["unshare", "--user", "--map-root-user", "true"][..],
        &["unshare", "--mount", "true"],
        &["mount", "-t", "tmpfs", "none", "/tmp"],
        &["chroot", "/app", "true"],
    ] {
        let escaped = Command::new(arguments[0])
            .args(&arguments[1..])
            .status()
            .is_ok_and(|status| status.success());
        println!("ESCAPED {arguments:?}: {escaped}");
    }
    system_calls();
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    for line in status
        .lines()
        .filter(|line| line.starts_with("Cap") || line.starts_with("NoNewPrivs") || line.starts_with("Seccomp:"))
    {
        println!("{line}");
    }
    be_an_exchange()
}

/// With arguments that do nothing, or nothing bad, where they are allowed after all.
fn system_calls() {
    let stream = libc::SOCK_STREAM.into();
    let family = |family: libc::c_int| [family.into(), stream, 0];
    let calls: [(&str, libc::c_long, [libc::c_long; 3]); 28] = [
        ("ptrace", libc::SYS_ptrace, [0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, -1, 0]),
        ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0]),
        ("setns", libc::SYS_setns, [-1, 0, 0]),
        ("clone", libc::SYS_clone, [libc::CLONE_NEWUSER.into(), 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [-1, 0, 0]),
        ("pivot_root", libc::SYS_pivot_root, [0, 0, 0]),
        ("chroot", libc::SYS_chroot, [0, 0, 0]),
        ("bpf", libc::SYS_bpf, [-1, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [-1, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [0, 0, 0]),
        ("shmget", libc::SYS_shmget, [0, 4096, 0o600]),
        ("semget", libc::SYS_semget, [0, 1, 0o600]),
        ("msgget", libc::SYS_msgget, [0, 0o600, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0]),
        ("socket of vsock", libc::SYS_socket, family(libc::AF_VSOCK)),
        ("socket of alg", libc::SYS_socket, family(libc::AF_ALG)),
        ("socket of packet", libc::SYS_socket, family(libc::AF_PACKET)),
        ("socket of a family to come", libc::SYS_socket, family(63)),
        ("socket of inet", libc::SYS_socket, family(libc::AF_INET)),
        ("getpid", libc::SYS_getpid, [0, 0, 0]),
    ];
    let call = |name: &str, number: libc::c_long, [one, two, three]: [libc::c_long; 3]| {
        // SAFETY: no argument is a pointer to anything; what a call makes is not touched.
        let came = unsafe { libc::syscall(number, one, two, three, 0, 0, 0) };
        let error = std::io::Error::last_os_error().raw_os_error();
        let came = match error {
            _ if came >= 0 => "allowed",
            Some(libc::EPERM) => "EPERM",
            Some(libc::ENOSYS) => "ENOSYS",
            _ => "another error",
        };
        println!("CALL {name}: {came}");
    };
    for (name, number, arguments) in calls {
        call(name, number, arguments);
    }
    if cfg!(target_arch = "x86_64") {
        call("getpid of x32", libc::SYS_getpid | 0x4000_0000, [0; 3]);
    }
}

/// Answers health with SERVING, and nothing else, ever.
fn hang() {
    let listen: SocketAddr = std::env::var("OPTIVEX_LISTEN")
        .expect("set")
        .parse()
        .expect("an address");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (_reporter, health) = tonic_health::server::health_reporter();
        let forever = tonic::service::Routes::new(health)
            .into_axum_router()
            .fallback(|| async {
                std::future::pending::<()>().await;
            });
        let routes = tonic::service::Routes::from(forever);
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve(listen)
            .await
            .expect("serves");
    });
}

/// Prints everything that comes in.
fn parrot() {
    let mut child = proxied(|bytes| println!("HEARD {}", String::from_utf8_lossy(bytes)));
    let _ = child.wait();
}

/// Stands in front of the real exchange, and hears what it is sent.
fn proxied(heard: impl Fn(&[u8]) + Clone + Send + 'static) -> Child {
    let listen = std::env::var("OPTIVEX_LISTEN").expect("set");
    let behind = TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port");
    let child = exchange()
        .env("OPTIVEX_LISTEN", behind.to_string())
        .spawn()
        .expect("an exchange");
    std::thread::spawn(move || {
        while TcpStream::connect(behind).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let listener = TcpListener::bind(listen).expect("the port");
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(behind) else {
                continue;
            };
            let (Ok(client_read), Ok(server_read)) = (client.try_clone(), server.try_clone()) else {
                continue;
            };
            let heard = heard.clone();
            std::thread::spawn(move || copy(client_read, server, heard));
            std::thread::spawn(move || copy(server_read, client, |_| ()));
        }
    });
    child
}

fn copy(mut from: TcpStream, mut to: TcpStream, heard: impl Fn(&[u8])) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        heard(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
