// An exported generator (format=onnx) on onnxruntime.
//
// Not compiled where the package is tested: the wheel of onnxruntime has no headers. It needs those and the
// library of a release of onnxruntime (1.16 or later).
#pragma once

#include <onnxruntime_cxx_api.h>

#include "simulacra_export.hh"

namespace simulacra {

class OnnxGenerator : public Generator {
 public:
  /// Opens a folder that `simulacra export format=onnx` has written.
  ///
  /// One thread is what a multi-threaded Geant4 wants: threads of onnxruntime multiply there.
  explicit OnnxGenerator(const std::string& folder, Outside outside = Outside::stop, int threads = 1)
      : Generator(folder, outside), environment_(ORT_LOGGING_LEVEL_ERROR, "simulacra") {
    if (sidecar_.format != "onnx")
      throw std::runtime_error(folder + " has format=" + sidecar_.format + ": export with format=onnx");
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);
    session_ = Ort::Session(environment_, (folder + "/" + sidecar_.file).c_str(), options);
    for (const auto& port : sidecar_.inputs) input_names_.push_back(port.name.c_str());
    for (const auto& port : sidecar_.outputs) output_names_.push_back(port.name.c_str());
  }

  std::vector<Numbers> run(const std::vector<Numbers>& inputs, std::size_t events) override {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<Ort::Value> handed;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::vector<std::int64_t> shape{static_cast<std::int64_t>(events)};
      const auto& own = sidecar_.inputs[i].shape;
      shape.insert(shape.end(), own.begin(), own.end());
      handed.push_back(Ort::Value::CreateTensor<float>(memory, const_cast<float*>(inputs[i].data()),
                                                       inputs[i].size(), shape.data(), shape.size()));
    }
    auto found = session_.Run(Ort::RunOptions{nullptr}, input_names_.data(), handed.data(), handed.size(),
                              output_names_.data(), output_names_.size());
    std::vector<Numbers> made;
    for (auto& value : found) {
      const float* first = value.GetTensorData<float>();
      made.emplace_back(first, first + value.GetTensorTypeAndShapeInfo().GetElementCount());
    }
    return made;
  }

 private:
  Ort::Env environment_;
  Ort::Session session_{nullptr};
  std::vector<const char*> input_names_, output_names_;
};

}  // namespace simulacra
