// An exported generator (format=torchscript) on LibTorch.
#pragma once

#include <ATen/Parallel.h>
#include <torch/script.h>

#include "simulacra_export.hh"

namespace simulacra {

class TorchGenerator : public Generator {
 public:
  /// Opens a folder that `simulacra export format=torchscript` has written.
  explicit TorchGenerator(const std::string& folder, Outside outside = Outside::stop, int threads = 1)
      : Generator(folder, outside) {
    if (sidecar_.format != "torchscript")
      throw std::runtime_error(folder + " has format=" + sidecar_.format + ": export with format=torchscript");
    at::set_num_threads(threads);
    module_ = torch::jit::load(folder + "/" + sidecar_.file, torch::kCPU);
    module_.eval();
  }

  std::vector<Numbers> run(const std::vector<Numbers>& inputs, std::size_t events) override {
    c10::InferenceMode inference;
    std::vector<torch::jit::IValue> handed;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::vector<std::int64_t> shape{static_cast<std::int64_t>(events)};
      const auto& own = sidecar_.inputs[i].shape;
      shape.insert(shape.end(), own.begin(), own.end());
      handed.emplace_back(torch::from_blob(const_cast<float*>(inputs[i].data()), shape, torch::kFloat));
    }
    const auto found = module_.forward(handed);
    std::vector<Numbers> made;
    if (found.isTensor()) {
      made.push_back(numbers(found.toTensor()));
    } else {
      for (const auto& item : found.toTupleRef().elements()) made.push_back(numbers(item.toTensor()));
    }
    return made;
  }

 private:
  torch::jit::Module module_;

  static Numbers numbers(const torch::Tensor& tensor) {
    const auto whole = tensor.contiguous();
    const float* first = whole.data_ptr<float>();
    return Numbers(first, first + whole.numel());
  }
};

}  // namespace simulacra
