// A fast-simulation model of Geant4 whose showers come from an exported generator, one batch per event.
//
// Not compiled where the package is tested: no Geant4 headers are there. It needs Geant4 11, in which
// G4GlobalFastSimulationManager calls Flush() once all particles of an event were tracked.
//
//   auto model = new simulacra::FastSimulation(
//       "generator", envelope, std::make_unique<simulacra::TorchGenerator>("exported_folder"),
//       [](const simulacra::Incoming& in, const float* cells, std::size_t n) { ... }, 1 * CLHEP::GeV);
//
// The second function places the n numbers of the first output of one shower: it knows the detector's cells.
// Energies are handed to the generator in MeV or GeV, as its sidecar says.
#pragma once

#include <CLHEP/Random/Random.h>

#include <functional>
#include <memory>

#include "G4Electron.hh"
#include "G4FastStep.hh"
#include "G4FastTrack.hh"
#include "G4Gamma.hh"
#include "G4Positron.hh"
#include "G4SystemOfUnits.hh"
#include "G4VFastSimulationModel.hh"
#include "simulacra_export.hh"

namespace simulacra {

/// A particle whose shower is generated.
struct Incoming {
  G4double energy;          // kinetic
  G4ThreeVector position;   // where it entered the envelope, global
  G4ThreeVector direction;  // global
  G4int track;
};

/// Geant4's engine of the thread, for the distributions of the standard library.
struct Engine {
  using result_type = std::uint32_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() {
    return static_cast<result_type>(CLHEP::HepRandom::getTheEngine()->flat() * 4294967296.0);
  }
};

class FastSimulation : public G4VFastSimulationModel {
 public:
  using Place = std::function<void(const Incoming&, const float*, std::size_t)>;
  using Conditions = std::function<void(const Incoming&, std::map<std::string, Numbers>&)>;

  /// `threshold` is the kinetic energy from which particles are taken; `conditions` adds what the generator
  /// is given beside the energy, to the vectors under the names of its sidecar.
  FastSimulation(const G4String& name, G4Region* envelope, std::unique_ptr<Generator> generator, Place place,
                 G4double threshold, Conditions conditions = {})
      : G4VFastSimulationModel(name, envelope),
        generator_(std::move(generator)),
        place_(std::move(place)),
        conditions_(std::move(conditions)),
        threshold_(threshold) {
    for (const auto& port : generator_->sidecar().inputs)
      if (port.role == "condition" && (port.unit == "MeV" || port.unit == "GeV")) energy_ = port;
    if (energy_.name.empty()) throw std::runtime_error("the generator is not given an energy in MeV or GeV");
  }

  G4bool IsApplicable(const G4ParticleDefinition& particle) override {
    return &particle == G4Gamma::Definition() || &particle == G4Electron::Definition() ||
           &particle == G4Positron::Definition();
  }

  /// Above the threshold and within the trained range: everything else is simulated in full.
  G4bool ModelTrigger(const G4FastTrack& track) override {
    const G4double energy = track.GetPrimaryTrack()->GetKineticEnergy();
    return energy >= threshold_ && (!energy_.low || energy / unit() >= *energy_.low) &&
           (!energy_.high || energy / unit() <= *energy_.high);
  }

  /// The particle ends here, and its shower waits for the end of the event.
  void DoIt(const G4FastTrack& track, G4FastStep& step) override {
    const auto* primary = track.GetPrimaryTrack();
    queue_.push_back({primary->GetKineticEnergy(), primary->GetPosition(), primary->GetMomentumDirection(),
                      primary->GetTrackID()});
    step.KillPrimaryTrack();
    step.ProposePrimaryTrackPathLength(0.0);
  }

  /// All showers of the event in one batch.
  void Flush() override {
    if (queue_.empty()) return;
    std::map<std::string, Numbers> conditions;
    for (const auto& incoming : queue_) {
      conditions[energy_.name].push_back(static_cast<float>(incoming.energy / unit()));
      if (conditions_) conditions_(incoming, conditions);
    }
    Engine engine;
    const auto made = generator_->sample(conditions, engine);
    const auto& first = generator_->sidecar().outputs.front();
    const auto& cells = made.at(first.name);
    for (std::size_t i = 0; i < queue_.size(); ++i)
      place_(queue_[i], cells.data() + i * first.width(), first.width());
    queue_.clear();
  }

 private:
  std::unique_ptr<Generator> generator_;
  Place place_;
  Conditions conditions_;
  G4double threshold_;
  Port energy_;
  std::vector<Incoming> queue_;

  G4double unit() const { return energy_.unit == "GeV" ? CLHEP::GeV : CLHEP::MeV; }
};

}  // namespace simulacra
