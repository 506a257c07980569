//! Numbers on their way to a device and back. The stand-in reads and writes page-locked memory when a stream comes to
//! the copy, and a stream runs only when somebody waits: a place of the ring that is written too early is what an older
//! copy sends, and a piece that is taken too early has not come.

use engine::Cuda;
use engine::cuda::STAGING_BYTES;

/// Numbers of one copy: from few to a quarter of the page-locked memory, so that no copy begins where one of the round
/// before did; and one that is larger than all of it.
fn length(i: usize) -> usize {
    if i == 20 { STAGING_BYTES / 4 * 3 + 5 } else { 1 + i * 7919 * 31 % (STAGING_BYTES / 16) }
}

fn numbers(i: usize) -> Vec<f32> {
    (0..length(i)).map(|j| ((i * 131_071 + j) % 8_388_593) as f32).collect()
}

pub(super) fn check(cuda: &Cuda) {
    let mut sent = vec![];
    let mut bytes = 0;
    // Nothing waits for a result before the ring was gone around five times and more.
    while bytes < 5 * STAGING_BYTES {
        let values = numbers(sent.len());
        bytes += size_of_val(&*values);
        sent.push(cuda.rows_of(&values, values.len()));
    }
    for (i, x) in sent.iter().enumerate() {
        assert!(
            x.to_cpu().data::<f32>() == numbers(i),
            "copy {i} of {} did not arrive as it was sent",
            sent.len()
        );
    }
}
