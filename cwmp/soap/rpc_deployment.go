package soap

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Software modules, options and vouchers (TR-069 A.4.1.6, A.4.1.7, A.4.1.10,
// A.4.2.3, A.4.2.4).

// The kinds of operation on a deployment unit.
const (
	operationInstall   = "Install"
	operationUpdate    = "Update"
	operationUninstall = "Uninstall"
)

// operationSuffix makes the name of an operation's structure of its kind.
const operationSuffix = "OpStruct"

// The members of a DU operation; those that the schema lets be absent are
// left out when empty, since an empty UUID is not valid.
var (
	operationURL      = optionalText("URL", func(m *cwmp.DUOperation) *string { return &m.URL })
	operationUUID     = optionalText("UUID", func(m *cwmp.DUOperation) *string { return &m.UUID })
	operationUsername = optionalText("Username", func(m *cwmp.DUOperation) *string { return &m.Username })
	operationPassword = optionalText("Password", func(m *cwmp.DUOperation) *string { return &m.Password })
	operationEnvRef   = optionalText("ExecutionEnvRef", func(m *cwmp.DUOperation) *string { return &m.ExecutionEnvRef })
	operationVersion  = optionalText("Version", func(m *cwmp.DUOperation) *string { return &m.Version })

	operationMembers = fields[cwmp.DUOperation]{
		operationURL, operationUUID, operationUsername, operationPassword, operationEnvRef, operationVersion}
	installMembers = fields[cwmp.DUOperation]{
		text("URL", func(m *cwmp.DUOperation) *string { return &m.URL }),
		operationUUID, operationUsername, operationPassword, operationEnvRef}
	updateMembers = fields[cwmp.DUOperation]{
		operationUUID, operationVersion, operationURL, operationUsername, operationPassword}
	uninstallMembers = fields[cwmp.DUOperation]{
		text("UUID", func(m *cwmp.DUOperation) *string { return &m.UUID }),
		operationVersion, operationEnvRef}
)

// operations are the Operations of a ChangeDUState: one abstract structure
// whose xsi:type says what it is, and with that, which members in which order.
func operations() field[cwmp.ChangeDUState] {
	return field[cwmp.ChangeDUState]{
		name: "Operations",
		read: func(s *scanner, m *cwmp.ChangeDUState) error {
			var op cwmp.DUOperation
			local := trimAll(s.xsiType[strings.LastIndexByte(s.xsiType, ':')+1:])
			some, err := operationMembers.readSome(s, &op)
			if err != nil || !some && local == "" { // an Update of everything has a type alone
				return err
			}
			op.Kind = operationKind(strings.TrimSuffix(local, operationSuffix), &op)
			m.Operations = append(m.Operations, op)
			return nil
		},
		write: func(w *writer, m *cwmp.ChangeDUState) {
			for i := range m.Operations {
				w.operation(&m.Operations[i])
			}
		},
	}
}

func (w *writer) operation(op *cwmp.DUOperation) {
	kind := operationKind(op.Kind, op)
	members := installMembers
	switch kind {
	case operationUpdate:
		members = updateMembers
	case operationUninstall:
		members = uninstallMembers
	}
	w.raw(`<Operations xsi:type="cwmp:`)
	w.raw(kind + operationSuffix)
	w.raw(`">`)
	members.write(w, op)
	w.end("Operations")
}

// resultMembers are the members of an operation's result. The CPE says which
// operation it was if it did it by itself; after a ChangeDUState it must not.
func resultMembers(operation field[cwmp.DUResult]) fields[cwmp.DUResult] {
	members := append(fields[cwmp.DUResult]{
		token("UUID", func(m *cwmp.DUResult) *string { return &m.UUID }),
		token("DeploymentUnitRef", func(m *cwmp.DUResult) *string { return &m.DeploymentUnitRef }),
		text("Version", func(m *cwmp.DUResult) *string { return &m.Version }),
		token("CurrentState", func(m *cwmp.DUResult) *string { return &m.CurrentState }),
		boolean("Resolved", func(m *cwmp.DUResult) *bool { return &m.Resolved }),
		token("ExecutionUnitRefList", func(m *cwmp.DUResult) *string { return &m.ExecutionUnitRefList }),
		dateTime("StartTime", func(m *cwmp.DUResult) *string { return &m.StartTime }),
		dateTime("CompleteTime", func(m *cwmp.DUResult) *string { return &m.CompleteTime })},
		faultFields("Fault", func(m *cwmp.DUResult) **cwmp.Fault { return &m.Fault })...)
	return append(members, operation)
}

var operationPerformed = token("OperationPerformed", func(m *cwmp.DUResult) *string { return &m.OperationPerformed })

var deploymentRPCs = []codec{
	rpc[cwmp.ChangeDUState](
		operations(),
		text("CommandKey", func(m *cwmp.ChangeDUState) *string { return &m.CommandKey })),
	rpc[cwmp.ChangeDUStateResponse](),
	rpc[cwmp.DUStateChangeComplete](
		repeated("Results", resultMembers(readOnly(operationPerformed)), func(m *cwmp.DUStateChangeComplete) *[]cwmp.DUResult { return &m.Results }),
		text("CommandKey", func(m *cwmp.DUStateChangeComplete) *string { return &m.CommandKey })),
	rpc[cwmp.DUStateChangeCompleteResponse](),
	rpc[cwmp.AutonomousDUStateChangeComplete](
		repeated("Results", resultMembers(operationPerformed), func(m *cwmp.AutonomousDUStateChangeComplete) *[]cwmp.DUResult { return &m.Results })),
	rpc[cwmp.AutonomousDUStateChangeCompleteResponse](),
}

var optionMembers = fields[cwmp.Option]{
	text("OptionName", func(m *cwmp.Option) *string { return &m.OptionName }),
	number("VoucherSN", func(m *cwmp.Option) *uint32 { return &m.VoucherSN }),
	number("State", func(m *cwmp.Option) *int { return &m.State }),
	number("Mode", func(m *cwmp.Option) *int { return &m.Mode }),
	dateTime("StartDate", func(m *cwmp.Option) *string { return &m.StartDate }),
	optional(token("ExpirationDate", optionExpiration), optionExpiration),
	boolean("IsTransferable", func(m *cwmp.Option) *bool { return &m.IsTransferable }),
}

func optionExpiration(m *cwmp.Option) *string { return &m.ExpirationDate }

var optionRPCs = []codec{
	rpc[cwmp.GetOptions](
		text("OptionName", func(m *cwmp.GetOptions) *string { return &m.OptionName })),
	rpc[cwmp.GetOptionsResponse](
		array("OptionList", "OptionStruct", optionMembers, func(m *cwmp.GetOptionsResponse) *[]cwmp.Option { return &m.Options }, nil)),
	rpc[cwmp.SetVouchers](
		texts("VoucherList", "soapenc:", "base64", func(m *cwmp.SetVouchers) *[]string { return &m.Vouchers })),
	rpc[cwmp.SetVouchersResponse](),
}
