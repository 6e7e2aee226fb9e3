// The C library as a program that the conformance suite can judge, from Rust.
//
//     ./dev build c
//     rustc --edition=2021 -O -Ldist -lwhispermel -Clink-arg=-Wl,-rpath,'$ORIGIN' --out-dir=dist examples/front_end.rs
//     ./dev conformance --frontend "cmd:dist/front_end {in} {out} {n_mels} {pad_to}"
//
// Reads raw float32 samples from IN, writes raw float32 features to OUT, prints their shape as JSON.

use std::{env, error::Error, ffi::CStr, fs, os::raw::c_char, os::raw::c_int};

extern "C" {
    fn whisper_mel_log_mel_f32(
        audio: *const f32, clips: i64, samples: i64, clip_stride: i64, pad_to: i64, n_mels: c_int,
        smoothing: c_int, out: *mut f32, out_len: i64, threads: c_int,
    ) -> c_int;
    fn whisper_mel_last_error() -> *const c_char;
}

fn main() -> Result<(), Box<dyn Error>> {
    let [input, output, n_mels, pad_to]: [String; 4] = env::args().skip(1).collect::<Vec<_>>()
        .try_into().map_err(|_| "usage: front_end IN OUT N_MELS PAD_TO")?;
    let audio: Vec<f32> = fs::read(input)?.chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    let (n_mels, pad_to): (i64, i64) = (n_mels.parse()?, pad_to.parse().unwrap_or(0)); // "" is 0
    let samples = audio.len() as i64;
    let frames = samples.max(pad_to) / 160;
    let mut features = vec![0f32; (n_mels.max(0) * frames) as usize];
    // Sound: the library reads `samples` values and writes at most as many as `out` has.
    let status = unsafe {
        whisper_mel_log_mel_f32(audio.as_ptr(), 1, samples, samples, pad_to, n_mels as c_int, 0,
            features.as_mut_ptr(), features.len() as i64, 1)
    };
    if status != 0 {
        return Err(unsafe { CStr::from_ptr(whisper_mel_last_error()) }.to_str()?.into());
    }
    fs::write(output, features.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
    println!("{{\"shape\": [{}, {}]}}", n_mels, frames);
    Ok(())
}
