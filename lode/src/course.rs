#![doc = include_str!("../../docs/course/README.md")]
//!
//! The chapters are the modules below. They hold no code but what stands in their text, which the tests run.

#[doc = include_str!("../../docs/course/1-chain-rule.md")]
pub mod chain_rule_1 {}
#[doc = include_str!("../../docs/course/2-matrix-product.md")]
pub mod matrix_product_2 {}
#[doc = include_str!("../../docs/course/3-softmax.md")]
pub mod softmax_3 {}
#[doc = include_str!("../../docs/course/4-text-to-vector.md")]
pub mod text_to_vector_4 {}
#[doc = include_str!("../../docs/course/5-attention.md")]
pub mod attention_5 {}
#[doc = include_str!("../../docs/course/6-training-step.md")]
pub mod training_step_6 {}
#[doc = include_str!("../../docs/course/7-negatives.md")]
pub mod negatives_7 {}
#[doc = include_str!("../../docs/course/8-clusters.md")]
pub mod clusters_8 {}
