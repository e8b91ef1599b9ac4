//! An EC2 that answers as a test says, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Status and body of an answer.
pub(crate) type Answer = (u16, String);

/// The server. Its thread ends with the process: a test that is over asks it nothing more.
pub(crate) struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

/// What it was asked: decoded fields of the form, in order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request(pub(crate) Vec<(String, String)>);

impl Request {
    /// A field's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Such as `RunInstances`.
    pub(crate) fn action(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }

    /// All fields, one a line.
    pub(crate) fn lines(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }
}

impl Server {
    /// Answers each request by what `answer` makes of it and of how many there were before.
    pub(crate) fn start(mut answer: impl FnMut(&Request, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is no matter of the server's.
                let Ok((mut stream, request)) = stream.and_then(read) else {
                    continue;
                };
                let number = {
                    let mut kept = kept.lock().expect("no test panics here");
                    kept.push(request.clone());
                    kept.len() - 1
                };
                let (status, body) = answer(&request, number);
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} -\r\ncontent-type: text/xml\r\nx-amzn-requestid: req-2\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { url, asked }
    }

    /// Gives the answers one after the other, the last one again and again.
    pub(crate) fn with(answers: Vec<Answer>) -> Self {
        Self::start(move |_, number| answers[number.min(answers.len() - 1)].clone())
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no test panics here").clone()
    }

    /// The actions of that.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.asked().iter().map(|request| request.action().to_owned()).collect()
    }
}

fn read(stream: TcpStream) -> std::io::Result<(TcpStream, Request)> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(std::io::Error::other)?;
    let fields = body.split('&').filter_map(|field| field.split_once('='));
    let mut fields: Vec<_> = fields.map(|(key, value)| (decoded(key), decoded(value))).collect();
    fields.sort();
    Ok((stream, Request(fields)))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, next)) = rest.split_first() {
        let hex = (first == b'%').then(|| next.get(..2)).flatten();
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        (rest, _) = match (hex, first) {
            (Some(byte), _) => (&next[2..], bytes.push(byte)),
            (None, b'+') => (next, bytes.push(b' ')),
            (None, byte) => (next, bytes.push(byte)),
        };
    }
    String::from_utf8(bytes).expect("the SDK sends UTF-8")
}

/// An answer to an action.
pub(crate) fn answer(action: &str, body: &str) -> Answer {
    let xml = format!(
        r#"<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>req-1</requestId>{body}</{action}Response>"#
    );
    (200, xml)
}

/// A refusal.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let xml = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>req-2</RequestID></Response>"
    );
    (status, xml)
}
