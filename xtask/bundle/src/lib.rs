//! What deploy, gate, daemon and provisioning agree on: inventory, manifest, limits, verdicts, wire forms.
