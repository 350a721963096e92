package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// addResult is what `uspbridge add --json` prints.
type addResult struct {
	Created []createdRow `json:"created"`
	Errors  []pathError  `json:"errors,omitempty"`
}

type createdRow struct {
	Path       string            `json:"path"`
	UniqueKeys map[string]string `json:"unique_keys,omitempty"`
}

func (a *app) addCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add --to ENDPOINT TABLE [NAME=VALUE…]", Short: "Create a row in a table of an agent",
		Example: "  uspbridge add --to os::00259E-1 Device.NAT.PortMapping. ExternalPort=8080 InternalPort=80 Protocol=TCP",
		Args:    takes(cobra.MinimumNArgs(1), "a table and its parameters"),
	}
	f := a.addAgentFlags(cmd)
	partial := cmd.Flags().Bool("allow-partial", false, "create the row also if some parameters fail")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == subscriptionTable {
			return usagef("a subscription of the command line ends with its connection: `uspbridge subscribe` adds one and waits")
		}
		msg, err := newAdd(args[0], args[1:], *partial)
		if err != nil {
			return err
		}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.Add(ctx, s.agent, msg)
			if err != nil {
				return err
			}
			r := readAddResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) {
				for _, row := range r.Created {
					fmt.Fprintln(w, printable(row.Path))
				}
			})
		})
	}
	return cmd
}

// newAdd makes an Add message for one row. With allow_partial false a parameter
// that fails takes the row with it.
func newAdd(path string, args []string, partial bool) (*usppb.Add, error) {
	if !strings.HasSuffix(path, ".") {
		return nil, usagef("%q is not a table: its path ends in a dot", path)
	}
	params, err := parseArguments(args)
	if err != nil {
		return nil, err
	}
	row := &usppb.Add_CreateObject{ObjPath: path}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		row.ParamSettings = append(row.ParamSettings, &usppb.Add_CreateParamSetting{
			Param: name, Value: params[name], Required: !partial,
		})
	}
	return &usppb.Add{AllowPartial: partial, CreateObjs: []*usppb.Add_CreateObject{row}}, nil
}

func readAddResp(resp *usppb.AddResp) addResult {
	r := addResult{Created: []createdRow{}}
	for _, row := range resp.GetCreatedObjResults() {
		if fail := row.GetOperStatus().GetOperFailure(); fail != nil {
			r.Errors = append(r.Errors, pathError{row.GetRequestedPath(), usp.ErrorCode(fail.GetErrCode()), fail.GetErrMsg()})
		}
		if done := row.GetOperStatus().GetOperSuccess(); done != nil {
			r.Created = append(r.Created, createdRow{done.GetInstantiatedPath(), done.GetUniqueKeys()})
			for _, p := range done.GetParamErrs() {
				r.Errors = append(r.Errors, pathError{done.GetInstantiatedPath() + p.GetParam(), usp.ErrorCode(p.GetErrCode()), p.GetErrMsg()})
			}
		}
	}
	return r
}
