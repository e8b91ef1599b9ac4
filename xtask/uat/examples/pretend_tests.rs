//! System tests that are over at once, and always pass: for tests of what the daemon does around them.

fn main() {
    let hidden = std::env::args().any(|argument| argument == "only");
    if !hidden {
        println!(r#"{{"event":"run_started","subject":"x","seed":7,"cases":1}}"#);
        println!(r#"{{"event":"stage_started","stage":"boot","number":1,"title":"Boot","core":true}}"#);
        println!(
            r#"{{"event":"case_finished","stage":"boot","case":"health","title":"T","clause":"C","hidden":false,"base":true,"seed":7,"seconds":0.1,"outcome":"passed","story":null}}"#
        );
        println!(
            r#"{{"event":"stage_finished","stage":"boot","number":1,"title":"Boot","core":true,"passed":1,"failed":0,"errors":0,"blocked":0,"skipped":0,"blocked_by":[],"seconds":0.5}}"#
        );
    }
    println!(r#"{{"event":"summary","serves":true,"error":0}}"#);
}
