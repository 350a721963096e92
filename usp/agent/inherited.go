package agent

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// A controller has the roles that were assigned to it and those that it inherits
// from the rows of ControllerTrust.Credential with which its certificate was
// validated (TR-369 "A Controller's Role"). Which rows these were is kept with the
// controller; what they give is looked up when the state of the agent changes, so
// that a row that is disabled, deleted or given another Role counts at once, and
// no check of a right has more to do.

// validatedBy has references to the rows of ControllerTrust.Credential by which a
// controller's certificate was validated last.
const validatedBy = "ValidatedBy"

// mtpOnly is the AllowedUses of an authority that cannot authenticate controllers.
const mtpOnly = "MTP-only"

// assignedRoles returns what Controller.{i}.AssignedRole refers to.
func (s *state) assignedRoles(controller rowKey) []string {
	return splitList(s.named(controller, "AssignedRole"))
}

// inheritedRoles returns what Controller.{i}.InheritedRole refers to: nothing for
// a controller that is banned.
func (s *state) inheritedRoles(spec *localSpec, controller rowKey) (roles []string) {
	if s.bans(spec, s.assignedRoles(controller)) {
		return nil
	}
	table := spec.classAt(credentialTable)
	for _, ref := range splitList(s.named(controller, validatedBy)) {
		n, ok := s.refers(table, ref)
		if !ok {
			continue
		}
		for _, role := range s.conferred(spec, rowKey{table, dm.Inst(n)}) {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles
}

// conferred returns the roles that a row of ControllerTrust.Credential gives to
// controllers that were validated with it.
func (s *state) conferred(spec *localSpec, credential rowKey) []string {
	certificates := spec.classAt(certificateTable)
	n, ok := s.refers(certificates, s.named(credential, "Credential"))
	if !ok || s.named(rowKey{certificates, dm.Inst(n)}, "Enable") != "true" ||
		s.named(credential, "Enable") != "true" || s.named(credential, "AllowedUses") == mtpOnly {
		return nil
	}
	return splitList(s.named(credential, "Role"))
}

// bans reports whether the banned role is among some roles.
func (s *state) bans(spec *localSpec, roles []string) bool {
	banned := s.named(rowKey{class: spec.root}, trustObject+"BannedRole")
	return banned != "" && slices.Contains(roles, banned)
}
