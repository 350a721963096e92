package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// setResult is what `uspbridge set --json` prints.
type setResult struct {
	Updated map[string]string `json:"updated"` // path → value as the device took it
	Errors  []pathError       `json:"errors,omitempty"`
}

func (a *app) setCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set --to ENDPOINT PATH=VALUE…", Short: "Write parameters of an agent",
		Long:    "Write parameters of an agent: all of them or none, unless --allow-partial is given.",
		Example: "  uspbridge set --to os::00259E-1 Device.WiFi.SSID.1.SSID=home Device.WiFi.SSID.1.Enable=true",
		Args:    takes(cobra.MinimumNArgs(1), "at least one PATH=VALUE"),
	}
	f := a.addAgentFlags(cmd)
	partial := cmd.Flags().Bool("allow-partial", false, "write what can be written, also if some fail")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		msg, err := newSet(args, *partial)
		if err != nil {
			return err
		}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.Set(ctx, s.agent, msg)
			if err != nil {
				return err
			}
			r := readSetResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) { printParams(w, r.Updated) })
		})
	}
	return cmd
}

// newSet makes a Set message: one update an object, in the order given.
func newSet(args []string, partial bool) (*usppb.Set, error) {
	msg := &usppb.Set{AllowPartial: partial}
	objects := map[string]*usppb.Set_UpdateObject{}
	for _, arg := range args {
		p, err := parseAssignment(arg)
		if err != nil {
			return nil, err
		}
		object := objects[p.object]
		if object == nil {
			object = &usppb.Set_UpdateObject{ObjPath: p.object}
			objects[p.object] = object
			msg.UpdateObjs = append(msg.UpdateObjs, object)
		}
		object.ParamSettings = append(object.ParamSettings, &usppb.Set_UpdateParamSetting{
			Param: p.param, Value: p.value, Required: !partial,
		})
	}
	return msg, nil
}

func readSetResp(resp *usppb.SetResp) setResult {
	r := setResult{Updated: map[string]string{}}
	for _, object := range resp.GetUpdatedObjResults() {
		if fail := object.GetOperStatus().GetOperFailure(); fail != nil {
			r.Errors = append(r.Errors, setFailures(object.GetRequestedPath(), fail)...)
		}
		for _, row := range object.GetOperStatus().GetOperSuccess().GetUpdatedInstResults() {
			for name, value := range row.GetUpdatedParams() {
				r.Updated[row.GetAffectedPath()+name] = value
			}
			r.Errors = append(r.Errors, setParamErrors(row.GetAffectedPath(), row.GetParamErrs())...)
		}
	}
	return r
}

// setFailures lists why an object was not updated: its parameters' errors where
// there are some, else the object's own.
func setFailures(path string, fail *usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationFailure) (errs []pathError) {
	for _, row := range fail.GetUpdatedInstFailures() {
		errs = append(errs, setParamErrors(row.GetAffectedPath(), row.GetParamErrs())...)
	}
	if len(errs) == 0 {
		errs = append(errs, pathError{path, usp.ErrorCode(fail.GetErrCode()), fail.GetErrMsg()})
	}
	return errs
}

func setParamErrors(object string, params []*usppb.SetResp_ParameterError) (errs []pathError) {
	for _, p := range params {
		errs = append(errs, pathError{object + p.GetParam(), usp.ErrorCode(p.GetErrCode()), p.GetErrMsg()})
	}
	return errs
}
