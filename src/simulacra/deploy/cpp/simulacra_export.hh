// What an exported generator is to a C++ program: the sidecar, the pairs, the checks, the noise, the batches.
//
// No library is needed here. simulacra_torch.hh and simulacra_onnx.hh run the graph; both give a
// simulacra::Generator:
//
//   simulacra::TorchGenerator generator("exported_folder", simulacra::Outside::warn);
//   std::mt19937_64 engine(1);
//   auto showers = generator.sample({{"incident_energy", {5000.f, 20000.f}}}, engine);
//   // showers["events"] holds 2 * width numbers, one event after the other
//
// Written for C++17.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace simulacra {

using Numbers = std::vector<float>;

/// One tensor of float numbers: a condition, noise ("normal", "uniform") or something that is made ("output").
struct Port {
  std::string name, role, unit;
  std::optional<double> low, high;  // of a condition: what the model was trained with
  std::vector<std::int64_t> shape;  // of one event

  std::size_t width() const {
    std::size_t n = 1;
    for (auto size : shape) n *= static_cast<std::size_t>(size);
    return n;
  }
};

/// The lines of sidecar.txt.
struct Sidecar {
  std::string contract, format, file, pairs_file;
  std::size_t events_per_call = 0;  // 0: any number
  std::size_t pairs = 0;
  std::vector<Port> inputs, outputs;

  static Sidecar read(const std::string& folder) {
    const std::string path = folder + "/sidecar.txt";
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot open " + path);
    Sidecar made;
    std::string line, key;
    bool known = false;
    while (std::getline(file, line)) {
      std::istringstream words(line);
      words >> key;
      if (key == "simulacra_export") {
        int version = 0;
        words >> version;
        known = version == 1;
      } else if (key == "contract") {
        words >> made.contract;
      } else if (key == "format") {
        words >> made.format;
      } else if (key == "file") {
        words >> made.file;
      } else if (key == "events_per_call") {
        made.events_per_call = static_cast<std::size_t>(number(words).value_or(0));
      } else if (key == "input" || key == "output") {
        (key == "input" ? made.inputs : made.outputs).push_back(port(words));
      } else if (key == "pairs") {
        words >> made.pairs_file >> made.pairs;
      }
    }
    if (!known || made.file.empty() || made.inputs.empty() || made.outputs.empty())
      throw std::runtime_error(path + " is no sidecar of an export of version 1");
    return made;
  }

 private:
  static std::optional<double> number(std::istringstream& words) {
    std::string word;
    words >> word;
    if (word.empty() || word == "-") return std::nullopt;
    return std::stod(word);
  }

  static Port port(std::istringstream& words) {
    Port made;
    words >> made.name >> made.role >> made.unit;
    if (made.unit == "-") made.unit.clear();
    made.low = number(words);
    made.high = number(words);
    std::int64_t size = 0;
    while (words >> size) made.shape.push_back(size);
    return made;
  }
};

/// What happens to conditions that the model was not trained with: an exception, or one line per condition.
enum class Outside { stop, warn };

/// A graph that runs, and all that does not depend on what runs it.
class Generator {
 public:
  static constexpr int redraws = 5;  // rounds in which events that are not finite are made again

  Generator(const std::string& folder, Outside outside)
      : sidecar_(Sidecar::read(folder)), outside_(outside) {}
  virtual ~Generator() = default;

  const Sidecar& sidecar() const { return sidecar_; }

  /// Outputs of one call: inputs and outputs hold the numbers of one event after the other, one vector per port.
  virtual std::vector<Numbers> run(const std::vector<Numbers>& inputs, std::size_t events) = 0;

  /// Events of conditions in physical units, all in one call, or in several of `most` events.
  ///
  /// `conditions` has by name the numbers of one event after the other. The result has by name those of the
  /// outputs. Throws std::runtime_error if a condition is missing or outside the trained range where that
  /// stops, or events are not finite however often they are made again.
  template <class Engine>
  std::map<std::string, Numbers> sample(const std::map<std::string, Numbers>& conditions, Engine& engine,
                                        std::size_t most = 1024) {
    const std::size_t events = checked(conditions);
    if (sidecar_.events_per_call) most = sidecar_.events_per_call;
    std::vector<Numbers> made(sidecar_.outputs.size());
    for (std::size_t start = 0; start < events; start += most) {
      const std::size_t n = std::min(most, events - start);
      const auto part = some(conditions, start, n, engine);
      for (std::size_t i = 0; i < made.size(); ++i)
        made[i].insert(made[i].end(), part[i].begin(), part[i].end());
    }
    std::map<std::string, Numbers> named;
    for (std::size_t i = 0; i < made.size(); ++i) named[sidecar_.outputs[i].name] = std::move(made[i]);
    return named;
  }

 protected:
  Sidecar sidecar_;

 private:
  Outside outside_;
  std::set<std::string> warned_;

  std::size_t checked(const std::map<std::string, Numbers>& conditions) {
    if (sidecar_.contract != "plain")
      throw std::runtime_error("a generator with contract=" + sidecar_.contract +
                               " is called by the program it is for; run() hands on its inputs as they are");
    std::size_t events = 0;
    bool first = true;
    for (const auto& port : sidecar_.inputs) {
      if (port.role != "condition") continue;
      const auto found = conditions.find(port.name);
      if (found == conditions.end()) throw std::runtime_error("the condition " + port.name + " is missing");
      const std::size_t n = found->second.size() / port.width();
      if (found->second.size() % port.width() || (!first && n != events))
        throw std::runtime_error("the condition " + port.name + " has " +
                                 std::to_string(found->second.size()) + " numbers, " +
                                 std::to_string(port.width()) + " per event are needed");
      events = n;
      first = false;
      check_range(port, found->second);
    }
    if (first) throw std::runtime_error("the generator has no condition: call run() with noise");
    return events;
  }

  void check_range(const Port& port, const Numbers& values) {
    const double inf = std::numeric_limits<double>::infinity();
    const double low = port.low ? *port.low - 1e-6 * std::abs(*port.low) : -inf;
    const double high = port.high ? *port.high + 1e-6 * std::abs(*port.high) : inf;
    for (float value : values) {
      if (value >= low && value <= high) continue;  // NaN is outside
      std::ostringstream text;
      text << port.name << " = " << value << " " << port.unit << " lies outside the trained range " << low
           << " to " << high;
      if (outside_ == Outside::stop || std::isnan(value))
        throw std::runtime_error(text.str() + ": the generator would extrapolate");
      if (warned_.insert(port.name).second) std::fprintf(stderr, "simulacra: %s\n", text.str().c_str());
      return;
    }
  }

  template <class Engine>
  std::vector<Numbers> some(const std::map<std::string, Numbers>& conditions, std::size_t start,
                            std::size_t n, Engine& engine) {
    std::vector<std::size_t> rows(n);
    for (std::size_t i = 0; i < n; ++i) rows[i] = start + i;
    auto made = once(conditions, rows, engine);
    for (int round = 0;; ++round) {
      const auto bad = not_finite(made, n);
      if (bad.empty()) return made;
      if (round == redraws)
        throw std::runtime_error(std::to_string(bad.size()) + " of " + std::to_string(n) +
                                 " events hold NaN or infinite values, however often they are made again");
      std::vector<std::size_t> again;
      for (auto i : bad) again.push_back(rows[i]);
      for (std::size_t first = 0; first < again.size();) {
        const std::size_t size = sidecar_.events_per_call ? 1 : again.size();
        const std::vector<std::size_t> few(again.begin() + first, again.begin() + first + size);
        const auto other = once(conditions, few, engine);
        for (std::size_t p = 0; p < made.size(); ++p) {
          const std::size_t width = sidecar_.outputs[p].width();
          for (std::size_t k = 0; k < size; ++k)
            std::copy_n(other[p].begin() + k * width, width, made[p].begin() + bad[first + k] * width);
        }
        first += size;
      }
    }
  }

  template <class Engine>
  std::vector<Numbers> once(const std::map<std::string, Numbers>& conditions,
                            const std::vector<std::size_t>& rows, Engine& engine) {
    std::vector<Numbers> inputs;
    for (const auto& port : sidecar_.inputs) {
      const std::size_t width = port.width();
      Numbers values(rows.size() * width);
      if (port.role == "condition") {
        const auto& all = conditions.at(port.name);
        for (std::size_t k = 0; k < rows.size(); ++k)
          std::copy_n(all.begin() + rows[k] * width, width, values.begin() + k * width);
      } else if (port.role == "normal") {
        std::normal_distribution<float> draw;
        for (auto& value : values) value = draw(engine);
      } else {
        std::uniform_real_distribution<float> draw;
        for (auto& value : values) value = std::min(draw(engine), std::nextafter(1.f, 0.f));
      }
      inputs.push_back(std::move(values));
    }
    return run(inputs, rows.size());
  }

  std::vector<std::size_t> not_finite(const std::vector<Numbers>& made, std::size_t n) const {
    std::vector<std::size_t> bad;
    for (std::size_t i = 0; i < n; ++i) {
      bool sound = true;
      for (std::size_t p = 0; p < made.size() && sound; ++p) {
        const std::size_t width = sidecar_.outputs[p].width();
        sound = std::all_of(made[p].begin() + i * width, made[p].begin() + (i + 1) * width,
                            [](float value) { return std::isfinite(value); });
      }
      if (!sound) bad.push_back(i);
    }
    return bad;
  }
};

/// Inputs and outputs that go with the graph.
struct Pairs {
  std::size_t events = 0;
  std::vector<Numbers> inputs, outputs;
  Numbers threshold;  // of each event's first output

  static Pairs read(const std::string& folder, const Sidecar& sidecar) {
    const std::string path = folder + "/" + sidecar.pairs_file;
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot open " + path);
    Pairs made;
    made.events = sidecar.pairs;
    for (const auto& port : sidecar.inputs) made.inputs.push_back(take(file, made.events * port.width()));
    for (const auto& port : sidecar.outputs) made.outputs.push_back(take(file, made.events * port.width()));
    made.threshold = take(file, made.events);
    if (!file) throw std::runtime_error(path + " is too short");
    return made;
  }

 private:
  static Numbers take(std::ifstream& file, std::size_t n) {  // little-endian, on any machine
    Numbers made(n);
    std::array<unsigned char, 4> bytes{};
    for (auto& value : made) {
      file.read(reinterpret_cast<char*>(bytes.data()), 4);
      std::uint32_t bits = 0;
      for (int i = 3; i >= 0; --i) bits = bits << 8 | bytes[static_cast<std::size_t>(i)];
      static_assert(sizeof(value) == sizeof(bits), "float has 32 bits");
      std::copy_n(reinterpret_cast<const char*>(&bits), 4, reinterpret_cast<char*>(&value));
    }
    return made;
  }
};

}  // namespace simulacra
