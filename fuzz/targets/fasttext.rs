#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_fuzz::kinds::fuzz("fasttext", bytes));
