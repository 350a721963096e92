package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// getResult is what `uspbridge get --json` prints.
type getResult struct {
	Values map[string]string `json:"values"`
	Errors []pathError       `json:"errors,omitempty"`
}

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get --to ENDPOINT PATH…", Short: "Read parameters of an agent",
		Long:    "Read parameters of an agent. A path can end in a dot (all below), have * for all rows, or a search expression.",
		Example: "  uspbridge get --to os::00259E-1 Device.DeviceInfo. 'Device.WiFi.SSID.*.SSID'",
		Args:    takes(cobra.MinimumNArgs(1), "at least one path"),
	}
	f := a.addAgentFlags(cmd)
	depth := cmd.Flags().Uint32("max-depth", 0, "levels below a path that ends in a dot (0: all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.Get(ctx, s.agent, args, *depth)
			if err != nil {
				return err
			}
			r := readGetResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) { printParams(w, r.Values) })
		})
	}
	return cmd
}

func readGetResp(resp *usppb.GetResp) getResult {
	r := getResult{Values: map[string]string{}}
	for _, req := range resp.GetReqPathResults() {
		if req.GetErrCode() != 0 {
			r.Errors = append(r.Errors, pathError{req.GetRequestedPath(), usp.ErrorCode(req.GetErrCode()), req.GetErrMsg()})
		}
		for _, object := range req.GetResolvedPathResults() {
			for name, value := range object.GetResultParams() {
				r.Values[object.GetResolvedPath()+name] = value
			}
		}
	}
	return r
}
