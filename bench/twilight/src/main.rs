//! twilight-gateway as an entrant: the other end of `bench/entrants/twilight.py`, which says what
//! it is to do in one argument (the job, as JSON) and leaves the connection to the benchmark's
//! server as standard input. Prints one line of JSON, as `bench/rig/client.py` does.

use std::error::Error;
use std::fs::{self, File};
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_core::Stream;
use serde::Deserialize;
use twilight_gateway::{
    ConfigBuilder, Event, EventType, EventTypeFlags, Intents, Message, Shard, ShardId,
    StreamExt as _,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is to be done: of the job of `bench/rig/client.py` that which matters here.
#[derive(Deserialize)]
struct Job {
    options: Options,
    names: Vec<String>,
    url: String,
    prelude: u64,
    measured: u64,
    prelude_messages: u64,
    measured_messages: u64,
    settle_s: f64,
}

#[derive(Deserialize)]
struct Options {
    mode: Mode,
}

/// What twilight is asked for.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The text of every message.
    Raw,
    /// Every event, typed; the handler looks which it wants.
    Typed,
    /// Only wanted events, by event-type flags; the others are not deserialized.
    Flags,
}

/// Counts down a part's events and adds up what they carry; notes what the second part took.
struct Meter {
    left: u64,
    measured: u64,
    sum: u128,
    sums: Vec<u128>,
    settle: Duration,
    control: File,
    cpu: Duration,
    wall: Instant,
}

impl Meter {
    fn new(job: &Job) -> Result<Self> {
        let (left, measured) = match job.options.mode {
            Mode::Raw => (job.prelude_messages, job.measured_messages),
            Mode::Typed | Mode::Flags => (job.prelude, job.measured),
        };
        Ok(Self {
            left,
            measured,
            sum: 0,
            sums: Vec::new(),
            settle: Duration::from_secs_f64(job.settle_s),
            control: File::from(io::stdin().as_fd().try_clone_to_owned()?),
            cpu: Duration::ZERO,
            wall: Instant::now(),
        })
    }

    /// Add an event's value; return whether it was the last of its part.
    fn count(&mut self, value: u64) -> bool {
        self.sum += u128::from(value);
        self.left -= 1;
        self.left == 0
    }

    /// Note the end of a part; return whether it was the measured one.
    async fn turn(&mut self) -> Result<bool> {
        if !self.sums.is_empty() {
            self.cpu = cpu_time() - self.cpu;
            self.sums.push(self.sum);
            return Ok(true);
        }
        self.sums.push(std::mem::take(&mut self.sum));
        self.left = self.measured;
        tokio::time::sleep(self.settle).await;
        self.wall = Instant::now();
        self.cpu = cpu_time();
        self.control.write_all(b"GO\n")?;
        Ok(false)
    }

    /// Say what was measured.
    fn report(&self, mode: Mode) -> Result<String> {
        let seen = match mode {
            Mode::Raw => format!(
                r#""messages":{},"plain_bytes":{}"#,
                self.measured, self.sums[1]
            ),
            Mode::Typed | Mode::Flags => format!(r#""checksums":{:?}"#, self.sums),
        };
        Ok(format!(
            r#"{{"cpu_s":{},"wall_s":{},{seen},"peak_mb":{},"version":"{}"}}"#,
            self.cpu.as_secs_f64(),
            self.wall.elapsed().as_secs_f64(),
            peak_mb()?,
            version()
        ))
    }
}

/// User and system time of all threads so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "no CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The largest resident size so far, in MB; 0 where the system does not tell.
fn peak_mb() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kb.unwrap_or("0").parse::<f64>()? / 1024.0)
}

/// The version of twilight-gateway that was linked in.
fn version() -> &'static str {
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| *line == r#"name = "twilight-gateway""#);
    let line = lines.next().unwrap_or_default();
    line.trim_start_matches("version = ").trim_matches('"')
}

/// The flags of event names.
fn flags(names: &[String]) -> Result<EventTypeFlags> {
    names.iter().try_fold(EventTypeFlags::empty(), |all, name| {
        let kind = EventType::try_from(name.as_str()).map_err(|_| format!("no event {name}"))?;
        Ok(all | EventTypeFlags::from(kind))
    })
}

/// Receive text until the last message.
async fn receive_text(shard: &mut Shard, meter: &mut Meter) -> Result<()> {
    loop {
        let next = poll_fn(|context| Pin::new(&mut *shard).poll_next(context)).await;
        let Message::Text(text) = next.ok_or("the stream ended")?? else {
            return Err("the connection was closed before the last message".into());
        };
        if meter.count(text.len() as u64) && meter.turn().await? {
            return Ok(());
        }
    }
}

/// Receive typed events until the last that is wanted.
async fn receive_events(
    shard: &mut Shard,
    meter: &mut Meter,
    asked: EventTypeFlags,
    wanted: EventTypeFlags,
) -> Result<()> {
    loop {
        let event = shard.next_event(asked).await.ok_or("the stream ended")??;
        if let Event::GatewayClose(_) = event {
            return Err("the connection was closed before the last event".into());
        }
        // Some flags are shared: READY's bit is MESSAGE_POLL_VOTE_ADD's, too (0.18.0).
        let is_ready = matches!(event, Event::Ready(_));
        if is_ready || !wanted.contains(EventTypeFlags::from(event.kind())) {
            continue;
        }
        let guild_id = event.guild_id().map_or(0, |id| id.get());
        if meter.count(guild_id) && meter.turn().await? {
            return Ok(());
        }
    }
}

async fn run(job: &Job) -> Result<String> {
    let mode = job.options.mode;
    let mut meter = Meter::new(job)?;
    let config = ConfigBuilder::new("bench".to_owned(), Intents::all())
        .proxy_url(job.url.clone())
        .build();
    let mut shard = Shard::with_config(ShardId::ONE, config);
    match mode {
        Mode::Raw => receive_text(&mut shard, &mut meter).await?,
        Mode::Typed => {
            let (all, wanted) = (EventTypeFlags::all(), flags(&job.names)?);
            receive_events(&mut shard, &mut meter, all, wanted).await?;
        }
        Mode::Flags => {
            let wanted = flags(&job.names)?;
            receive_events(&mut shard, &mut meter, wanted, wanted).await?;
        }
    }
    meter.report(mode)
}

fn main() -> Result<()> {
    let argument = std::env::args().nth(1).ok_or("give the job as JSON")?;
    let job: Job = serde_json::from_str(&argument)?;
    // One thread, as the other entrants have: an event loop's cost is part of the comparison.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(run(&job))?);
    // Closing is not what is measured.
    std::process::exit(0)
}
