// Replays the pairs of an exported generator: differences from Python, and ms per shower.
//
//   replay FOLDER [REPEATS]
//
// Ends with 1 if the differences are larger than export tolerates, with 2 if the folder cannot be read or run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>

#ifdef SIMULACRA_ONNX
#include "simulacra_onnx.hh"
using Chosen = simulacra::OnnxGenerator;
#else
#include "simulacra_torch.hh"
using Chosen = simulacra::TorchGenerator;
#endif

namespace {

using simulacra::Numbers;

/// Events `start` to `start + n` of all tensors.
std::vector<Numbers> part(const std::vector<Numbers>& all, const std::vector<simulacra::Port>& ports,
                          std::size_t start, std::size_t n) {
  std::vector<Numbers> made;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t width = ports[i].width();
    made.emplace_back(all[i].begin() + start * width, all[i].begin() + (start + n) * width);
  }
  return made;
}

/// As simulacra/deploy/export/pairs.py compares them.
void compare(const Numbers& found, const Numbers& truth, const simulacra::Port& port,
             const Numbers* threshold, std::vector<double>& differences, double& largest) {
  const auto is_whole = [](float x) { return x == std::rint(x); };
  const bool whole = std::all_of(truth.begin(), truth.end(), is_whole) &&
                     std::all_of(found.begin(), found.end(), is_whole);
  const std::size_t columns = port.shape.empty() ? 1 : static_cast<std::size_t>(port.shape.back());
  std::vector<double> square(columns, 0.0);
  std::vector<bool> is_signed(columns, false);
  for (std::size_t i = 0; i < truth.size(); ++i) {
    square[i % columns] += double(truth[i]) * truth[i];
    if (truth[i] < 0) is_signed[i % columns] = true;
  }
  const double rows = double(truth.size()) / columns;
  std::vector<double> faint(truth.size() / port.width(), 0.0);  // a hundredth of an event's largest energy
  for (std::size_t i = 0; threshold && i < truth.size(); ++i) {
    const std::size_t event = i / port.width();
    if ((*threshold)[event] > 0) faint[event] = std::max(faint[event], 1e-2 * truth[i]);
  }
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double a = found[i], b = truth[i], line = threshold ? (*threshold)[i / port.width()] : 0.0;
    const auto near = [line](double x) { return x > 0 && std::abs(x - line) <= 1e-3 * line; };
    if ((a == 0 && b == 0) || near(a) || near(b)) continue;
    if (line > 0 && a < line && b < line) continue;
    double scale = std::abs(b);
    if (a != 0 && b != 0) scale = std::max(scale, faint[i / port.width()]);
    if (is_signed[i % columns]) scale = std::max(scale, std::sqrt(square[i % columns] / rows));
    const double difference = a == b ? 0.0 : std::abs(a - b) / scale;
    differences.push_back(std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity());
    if (!whole || std::abs(a - b) != 1) largest = std::max(largest, differences.back());
  }
}

double median_ms(simulacra::Generator& generator, const std::vector<Numbers>& inputs, std::size_t events,
                 int repeats) {
  std::vector<double> times;
  for (int i = 0; i <= repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    generator.run(inputs, events);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (i > 0) times.push_back(took.count() / events);  // the first call prepares the graph
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

int replay(const std::string& folder, int repeats) {
  Chosen generator(folder);
  const auto& sidecar = generator.sidecar();
  const auto pairs = simulacra::Pairs::read(folder, sidecar);
  const std::size_t size = sidecar.events_per_call ? sidecar.events_per_call : pairs.events;
  std::vector<Numbers> found(sidecar.outputs.size());
  for (std::size_t start = 0; start < pairs.events; start += size) {
    const auto made = generator.run(part(pairs.inputs, sidecar.inputs, start, size), size);
    for (std::size_t i = 0; i < found.size(); ++i)
      found[i].insert(found[i].end(), made[i].begin(), made[i].end());
  }
  std::vector<double> differences;
  double largest = 0.0;  // but for whole numbers that are rounded to the next one
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].size() != pairs.outputs[i].size()) throw std::runtime_error("an output has another size");
    compare(found[i], pairs.outputs[i], sidecar.outputs[i], i == 0 ? &pairs.threshold : nullptr, differences,
            largest);
  }
  std::sort(differences.begin(), differences.end());
  const std::size_t n = differences.size();
  const double nearly_all = n ? differences[std::size_t(std::ceil(0.999 * double(n - 1)))] : 0.0;
  std::printf("numbers %zu largest %.3e in_99.9_percent %.3e\n", n, largest, nearly_all);
  std::printf("ms_per_event batch_1 %.4f\n",
              median_ms(generator, part(pairs.inputs, sidecar.inputs, 0, 1), 1, repeats));
  if (!sidecar.events_per_call) {
    auto twice = pairs.inputs;
    for (std::size_t i = 0; i < twice.size(); ++i)
      twice[i].insert(twice[i].end(), pairs.inputs[i].begin(), pairs.inputs[i].end());
    std::printf("ms_per_event batch_%zu %.4f\n", 2 * pairs.events,
                median_ms(generator, twice, 2 * pairs.events, repeats));
  }
  if (sidecar.contract == "plain") {  // the whole way a simulation goes, with noise of its own
    std::map<std::string, Numbers> conditions;
    for (std::size_t i = 0; i < sidecar.inputs.size(); ++i)
      if (sidecar.inputs[i].role == "condition") conditions[sidecar.inputs[i].name] = pairs.inputs[i];
    std::mt19937_64 engine(1);
    if (!conditions.empty()) {
      const auto made = generator.sample(conditions, engine, 5);
      const auto& first = made.at(sidecar.outputs[0].name);
      double sum = 0.0;
      for (float value : first) sum += value;
      std::printf("sampled %zu events, sum %.6g\n", first.size() / sidecar.outputs[0].width(), sum);
    }
  }
  return largest <= 1e-2 && nearly_all <= 1e-4 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: replay FOLDER [REPEATS]\n";
    return 2;
  }
  try {
    return replay(argv[1], argc > 2 ? std::stoi(argv[2]) : 20);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
