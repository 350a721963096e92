package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// deleteResult is what `uspbridge delete --json` prints.
type deleteResult struct {
	Deleted []string    `json:"deleted"`
	Errors  []pathError `json:"errors,omitempty"`
}

func (a *app) deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete --to ENDPOINT ROW…", Short: "Delete rows of an agent's tables",
		Example: "  uspbridge delete --to os::00259E-1 Device.NAT.PortMapping.3.",
		Args:    takes(cobra.MinimumNArgs(1), "at least one row"),
	}
	f := a.addAgentFlags(cmd)
	partial := cmd.Flags().Bool("allow-partial", false, "delete what can be deleted, also if some fail")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		msg := &usppb.Delete{AllowPartial: *partial, ObjPaths: args}
		return a.withAgent(cmd.Context(), f, func(ctx context.Context, s session) error {
			resp, err := s.Delete(ctx, s.agent, msg)
			if err != nil {
				return err
			}
			r := readDeleteResp(resp)
			return a.result(r, r.Errors, func(w io.Writer) {
				if len(r.Deleted)+len(r.Errors) == 0 { // a success in USP
					fmt.Fprintln(w, "there was nothing to delete")
				}
				for _, path := range r.Deleted {
					fmt.Fprintln(w, printable(path))
				}
			})
		})
	}
	return cmd
}

func readDeleteResp(resp *usppb.DeleteResp) deleteResult {
	r := deleteResult{Deleted: []string{}}
	for _, row := range resp.GetDeletedObjResults() {
		if fail := row.GetOperStatus().GetOperFailure(); fail != nil {
			r.Errors = append(r.Errors, pathError{row.GetRequestedPath(), usp.ErrorCode(fail.GetErrCode()), fail.GetErrMsg()})
		}
		done := row.GetOperStatus().GetOperSuccess()
		r.Deleted = append(r.Deleted, done.GetAffectedPaths()...)
		for _, p := range done.GetUnaffectedPathErrs() {
			r.Errors = append(r.Errors, pathError{p.GetUnaffectedPath(), usp.ErrorCode(p.GetErrCode()), p.GetErrMsg()})
		}
	}
	return r
}
