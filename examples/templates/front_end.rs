// Template: lets the conformance suite judge a front-end in Rust. Replace `log_mel` by your own.
//
//     rustc --edition=2021 -O front_end.rs
//     whisper-mel judge "cmd:./front_end"
//
// It serves: one line of JSON asks for one call, one line answers
// (docs/writing-a-front-end.md#programs).

use std::{error::Error, fs, io, io::Write};

// ---------------------------------------------------------------- replace this function

/// Features of samples at 16 kHz, band by band: `n_mels` rows of samples / 160 frames.
fn log_mel(x: &[f32], n_mels: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    const SIZE: usize = 400;
    const HOP: usize = 160;
    const BINS: usize = SIZE / 2 + 1;
    if x.len() <= SIZE / 2 {
        return Err("expected at least 201 samples".into());
    }
    if x.iter().any(|value| !value.is_finite()) {
        return Err("expected finite samples".into());
    }
    let angle = |i: usize| 2.0 * std::f64::consts::PI * i as f64 / SIZE as f64;
    let cosine: Vec<f64> = (0..SIZE).map(|i| angle(i).cos()).collect();
    let sine: Vec<f64> = (0..SIZE).map(|i| angle(i).sin()).collect();
    let step = 6.4f64.ln() / 27.0;
    let top = 15.0 + 8f64.ln() / step; // 8000 Hz on Slaney's mel scale
    let edges: Vec<f64> = (0..n_mels + 2)
        .map(|i| top * i as f64 / (n_mels + 1) as f64)
        .map(|mel| if mel < 15.0 { 200.0 * mel / 3.0 } else { 1000.0 * ((mel - 15.0) * step).exp() })
        .collect();
    let (last, frames) = (x.len() as i64 - 1, x.len() / HOP);
    let mut y = vec![0f32; n_mels * frames];
    for t in 0..frames {
        let frame: Vec<f64> = (0..SIZE)
            .map(|i| {
                // Both ends are mirrored; the Hann window is periodic.
                let at = last - (last - ((t * HOP + i) as i64 - SIZE as i64 / 2).abs()).abs();
                x[at as usize] as f64 * (0.5 - 0.5 * cosine[i])
            })
            .collect();
        let power: Vec<f64> = (0..BINS)
            .map(|k| {
                let real: f64 = (0..SIZE).map(|i| frame[i] * cosine[k * i % SIZE]).sum();
                let imaginary: f64 = (0..SIZE).map(|i| frame[i] * sine[k * i % SIZE]).sum();
                real * real + imaginary * imaginary
            })
            .collect();
        for band in 0..n_mels {
            let (low, mid, high) = (edges[band], edges[band + 1], edges[band + 2]);
            let sum: f64 = (0..BINS)
                .map(|k| {
                    let hertz = k as f64 * 40.0;
                    let height = ((hertz - low) / (mid - low)).min((high - hertz) / (high - mid));
                    height.max(0.0) * 2.0 / (high - low) * power[k]
                })
                .sum();
            y[band * frames + t] = sum.max(1e-10).log10() as f32;
        }
    }
    let floor = y.iter().copied().fold(f32::NEG_INFINITY, f32::max) - 8.0;
    Ok(y.iter().map(|value| (value.max(floor) + 4.0) / 4.0).collect())
}

// ---------------------------------------------------------------- the rest stays as it is

/// The value of a field of a request: a text without its quotes, a number, or null.
fn field<'a>(line: &'a str, name: &str) -> Result<&'a str, Box<dyn Error>> {
    let key = format!("\"{name}\": ");
    let at = line.find(&key).ok_or(format!("no {name} in the request"))? + key.len();
    let rest = &line[at..];
    let value = match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}']).next(),
    };
    Ok(value.unwrap_or_default())
}

fn answer(line: &str) -> Result<String, Box<dyn Error>> {
    for name in ["smoothing", "pad_to"] {
        if field(line, name)? != "null" {
            return Ok(format!("{{\"unsupported\": \"{name}\"}}"));
        }
    }
    let x: Vec<f32> = fs::read(field(line, "in")?)?
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let n_mels: usize = field(line, "n_mels")?.parse()?;
    let y = log_mel(&x, n_mels)?;
    let bytes: Vec<u8> = y.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(field(line, "out")?, bytes)?;
    Ok(format!("{{\"shape\": [{}, {}]}}", n_mels, y.len() / n_mels))
}

fn main() {
    for line in io::stdin().lines().map_while(Result::ok) {
        let text = answer(&line).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"));
        println!("{text}");
        io::stdout().flush().unwrap();
    }
}
