// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Proxy} from "./Proxy.sol";

/// Admin of all predeploy proxies, its own included. Its owner decides on upgrades.
///
/// Every proxy of this chain is an ERC-1967 one; the older kinds of proxy that other OP chains carry along from their
/// past never existed here.
contract ProxyAdmin {
    /// The owner has changed.
    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 0
    /// Who may upgrade.
    address public owner;

    modifier onlyOwner() {
        require(msg.sender == owner, "Ownable: caller is not the owner");
        _;
    }

    constructor(address owner_) {
        _setOwner(owner_);
    }

    /// Hands the ownership on.
    function transferOwnership(address newOwner) external onlyOwner {
        require(newOwner != address(0), "Ownable: new owner is the zero address");
        _setOwner(newOwner);
    }

    /// Gives the ownership up. No predeploy can be upgraded afterwards.
    function renounceOwnership() external onlyOwner {
        _setOwner(address(0));
    }

    /// Kind of a proxy: 0, ERC-1967, for all.
    function proxyType(address) external pure returns (uint8) {
        return 0;
    }

    /// Implementation behind `proxy`.
    function getProxyImplementation(address proxy) external view returns (address) {
        return _ask(proxy, abi.encodeCall(Proxy.implementation, ()));
    }

    /// Admin of `proxy`.
    function getProxyAdmin(address payable proxy) external view returns (address) {
        return _ask(proxy, abi.encodeCall(Proxy.admin, ()));
    }

    /// Gives `proxy` another admin.
    function changeProxyAdmin(address payable proxy, address newAdmin) external onlyOwner {
        Proxy(proxy).changeAdmin(newAdmin);
    }

    /// Gives `proxy` another implementation.
    function upgrade(address payable proxy, address implementation) public onlyOwner {
        Proxy(proxy).upgradeTo(implementation);
    }

    /// Gives `proxy` another implementation and calls it with `data` and the value sent.
    function upgradeAndCall(address payable proxy, address implementation, bytes calldata data)
        external
        payable
        onlyOwner
    {
        Proxy(proxy).upgradeToAndCall{value: msg.value}(implementation, data);
    }

    /// The proxy's getters are not views in its interface, because they may delegate; asked by the admin they are.
    function _ask(address proxy, bytes memory question) private view returns (address) {
        (bool done, bytes memory answer) = proxy.staticcall(question);
        require(done && answer.length == 32, "ProxyAdmin: not a proxy of this admin");
        return abi.decode(answer, (address));
    }

    function _setOwner(address newOwner) private {
        emit OwnershipTransferred(owner, newOwner);
        owner = newOwner;
    }
}
