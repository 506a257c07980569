// Functions of one and two numbers by their number, which is that of `Function1` and `Function2` in
// engine/src/cuda/map.rs; a test compares the two lists. `p` and `q` are the constants of the function.
#pragma once
#include "threads.cuh"

enum Function1 { LINEAR, OVER, EXP, LOG, TANH, SIGMOID, SOFTPLUS, RELU, GELU, GELU_TANH, SOFTPLUS_OF_MINUS,
                 MINUS_SIGMOID_OF_MINUS };
enum Function2 { PLUS, MINUS, TIMES, QUOTIENT, MINUS_TIMES, LOG_BACK, TANH_BACK, SIGMOID_BACK, SOFTPLUS_BACK,
                 RELU_BACK, GELU_BACK, GELU_TANH_BACK };

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }
__device__ __forceinline__ float softplus(float x) { return larger(0.f, x) + log1pf(expf(-fabsf(x))); }
// The distribution function of the normal law.
__device__ __forceinline__ float normal_cdf(float x) { return 0.5f * (1.f + erff(0.70710678f * x)); }
// sigma(2u) of the approximate gelu.
__device__ __forceinline__ float bend(float x) {
  return sigmoid(1.59576912f * x * (1.f + 0.044715f * x * x));
}

// The functions between two layers: what may follow a product.
__device__ __forceinline__ float activation(uint32_t f, float x) {
  switch (f) {
    case RELU: return larger(0.f, x);
    case GELU: return x * normal_cdf(x);
    case GELU_TANH: return x * bend(x);
  }
  return 0.f / 0.f;
}
// The slope of one of them at `a`, times the gradient `b`.
__device__ __forceinline__ float activation_back(uint32_t f, float a, float b) {
  switch (f) {
    case RELU_BACK: return a > 0.f ? b : 0.f;
    case GELU_BACK: return b * (normal_cdf(a) + a * (0.39894228f * expf(-0.5f * a * a)));
    case GELU_TANH_BACK: {
      const float s = bend(a), slope = 1.59576912f * (1.f + 0.134145f * a * a);
      return b * s * (1.f + a * (1.f - s) * slope);
    }
  }
  return 0.f / 0.f;
}

__device__ __forceinline__ float function1(uint32_t f, float x, float p, float q) {
  switch (f) {
    case LINEAR: return p * x + q;
    case OVER: return x / p;
    case EXP: return expf(x);
    case LOG: return logf(x);
    case TANH: return tanhf(x);
    case SIGMOID: return sigmoid(x);
    case SOFTPLUS: return softplus(x);
    case RELU: case GELU: case GELU_TANH: return activation(f, x);
    case SOFTPLUS_OF_MINUS: return softplus(-x);
    case MINUS_SIGMOID_OF_MINUS: return -1.f / (1.f + expf(x));
  }
  return 0.f / 0.f;
}

// Of the backward functions the first number is x or y, the second the gradient.
__device__ __forceinline__ float function2(uint32_t f, float a, float b) {
  switch (f) {
    case PLUS: return a + b;
    case MINUS: return a - b;
    case TIMES: return a * b;
    case QUOTIENT: return a / b;
    case MINUS_TIMES: return -(a * b);
    case LOG_BACK: return b / a;
    case TANH_BACK: return b * (1.f - a * a);
    case SIGMOID_BACK: return b * a * (1.f - a);
    case SOFTPLUS_BACK: return b * sigmoid(a);
    case RELU_BACK: case GELU_BACK: case GELU_TANH_BACK: return activation_back(f, a, b);
  }
  return 0.f / 0.f;
}
