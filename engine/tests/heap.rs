//! The counting allocator counts what a program asks for. A program without the test harness, whose
//! threads would count as well.

#[global_allocator]
static HEAP: engine::heap::Counting = engine::heap::Counting::new();

fn main() {
    every_block_that_comes_and_goes_is_counted();
}

fn every_block_that_comes_and_goes_is_counted() {
    let (allocations, bytes, held) = (HEAP.allocations(), HEAP.bytes(), HEAP.bytes_in_use());
    HEAP.forget_peak();
    let mut block: Vec<u8> = Vec::with_capacity(100_000);
    assert_eq!((HEAP.allocations() - allocations, HEAP.bytes() - bytes), (1, 100_000));
    block.reserve_exact(300_000);
    assert_eq!((HEAP.allocations() - allocations, HEAP.bytes() - bytes), (2, 400_000), "growing is asking");
    assert_eq!(HEAP.bytes_in_use() - held, 300_000);
    drop(block);
    let zeros = vec![0u64; 1000];
    assert_eq!((HEAP.allocations() - allocations, HEAP.bytes() - bytes), (3, 408_000), "zeros too");
    assert_eq!(HEAP.bytes_in_use() - held, 8000);
    drop(zeros);
    assert_eq!(HEAP.bytes_in_use(), held);
    let peak = HEAP.bytes_in_use_peak() - held;
    assert_eq!(peak, 300_000, "a block that grows is one block");
}
