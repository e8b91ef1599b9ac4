//! System tests that are over at once, and always pass: for tests of what the daemon does around them. With `--sleep N`
//! they take N seconds; where the exchange is asked for a fault, they find one.

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let hidden = arguments.iter().any(|argument| argument == "only");
    let seconds = arguments.iter().skip_while(|argument| *argument != "--sleep").nth(1);
    if let Some(seconds) = seconds.and_then(|seconds| seconds.parse().ok()) {
        std::thread::sleep(std::time::Duration::from_secs(seconds));
    }
    // What the cell was told lies beside what it tells.
    let cell = std::fs::read_to_string("/tmp/cell/out/cell.json").unwrap_or_default();
    let faulty = cell.contains("OPTIVEX_FAULT");
    if !hidden {
        let (outcome, passed, failed) = if faulty { ("failed", 0, 1) } else { ("passed", 1, 0) };
        println!(r#"{{"event":"run_started","subject":"x","seed":7,"cases":1}}"#);
        println!(r#"{{"event":"stage_started","stage":"boot","number":1,"title":"Boot","core":true}}"#);
        println!(
            r#"{{"event":"case_finished","stage":"boot","case":"health","title":"T","clause":"C","hidden":false,"base":true,"seed":7,"seconds":0.1,"outcome":"{outcome}","story":null}}"#
        );
        println!(
            r#"{{"event":"stage_finished","stage":"boot","number":1,"title":"Boot","core":true,"passed":{passed},"failed":{failed},"errors":0,"blocked":0,"skipped":0,"blocked_by":[],"seconds":0.5}}"#
        );
    }
    println!(r#"{{"event":"summary","serves":true,"error":0}}"#);
}
