// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hearings} from "./Hearings.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {Answer, Hearing, IHearing, Question} from "./interfaces/IHearing.sol";
import {IRollups} from "./interfaces/IRollups.sol";
import {Phases} from "./libraries/Phases.sol";
import {Preimage} from "./libraries/Preimage.sol";
import {Round} from "./libraries/RoundLib.sol";

/// @title Questions for the data behind a proposal
/// @notice A proposal states three hashes, a roll-up some more. Whoever knows what they should be the hash of can walk down from them to
///         the place where the coordinator's tree differs; see `IHearing`.
abstract contract DataDemands is Hearings {
    /// Longest preimage of any well-formed node or leaf: an update's leaf has 313 bytes, an aggregate's 521, one of squares 553.
    uint256 internal constant MAX_PREIMAGE_BYTES = 553;

    mapping(bytes32 place => Question) private _questions;

    /// @inheritdoc IHearing
    // A hearing holds a time beside what is compared here; what is called is the federation, which calls nobody.
    // slither-disable-next-line timestamp,reentrancy-no-eth,reentrancy-benign,reentrancy-events
    function demand(uint64 roundId, bytes[] calldata path, bytes32 hash, uint8 levels) external payable {
        Round memory round = _proposed(roundId);
        _requireLinked(round, path, hash, levels);
        _ask(roundId, round, hash, levels);
    }

    /// @inheritdoc IHearing
    // slither-disable-next-line timestamp
    function answerMany(uint64 roundId, Answer[] calldata answers) external {
        uint16 attempt = _proposed(roundId).attempt;
        uint256 key = _key(roundId, attempt);
        uint24 closed = 0;
        for (uint256 i = 0; i < answers.length; ++i) {
            Answer calldata given = answers[i];
            Question storage asked = _questions[_place(key, given.hash, given.levels)];
            require(asked.asker != address(0), NotDemanded(given.hash, given.levels));
            // Whoever answers one of them in front of this call must not make it fail.
            if (asked.answered) continue;
            // The seconds that a block producer can shift do not matter.
            // forge-lint: disable-next-line(block-timestamp)
            require(block.timestamp <= asked.due, AnswerTooLate(asked.due));
            asked.answered = true;
            ++closed;
            _requireAnswer(roundId, given);
            emit DataAnswered(roundId, given.hash, attempt, given.levels);
        }
        if (closed > 0) _hearings[key].open -= closed;
    }

    /// @inheritdoc IHearing
    // slither-disable-next-line timestamp
    function rejectUnanswered(uint64 roundId, bytes32 hash, uint8 levels) external {
        uint16 attempt = _proposed(roundId).attempt;
        Question storage asked = _questions[_place(_key(roundId, attempt), hash, levels)];
        require(asked.asker != address(0) && !asked.answered, NotDemanded(hash, levels));
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp > asked.due, AnswerNotDue(asked.due));
        _bringDown(roundId, attempt, Fraud.MissingData);
    }

    /// @inheritdoc IHearing
    // A question holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function reclaim(uint64 roundId, uint16 attempt, bytes32 hash, uint8 levels) external {
        _requireFallen(roundId, attempt);
        bytes32 place = _place(_key(roundId, attempt), hash, levels);
        Question storage asked = _questions[place];
        address asker = asked.asker;
        require(asker != address(0), NotDemanded(hash, levels));
        _credit(asker, _price(levels, asked.exponent));
        delete _questions[place];
        emit DemandReclaimed(roundId, hash, attempt, asker);
    }

    /// @inheritdoc IHearing
    function question(uint64 roundId, uint16 attempt, bytes32 hash, uint8 levels)
        external
        view
        returns (Question memory)
    {
        return _questions[_place(_key(roundId, attempt), hash, levels)];
    }

    /// @inheritdoc IHearing
    // slither-disable-next-line timestamp
    function demandPrice(uint64 roundId, uint8 levels) external view returns (uint256) {
        Hearing storage heard = _hearings[_key(roundId, _proposed(roundId).attempt)];
        // forge-lint: disable-next-line(block-timestamp)
        bool begins = block.timestamp > heard.closes;
        return _price(levels, begins ? 0 : heard.units / Phases.UNITS_A_DOUBLING);
    }

    /// @dev Takes a question for what was shown to belong to the statement.
    // slither-disable-next-line timestamp,reentrancy-no-eth,reentrancy-benign,reentrancy-events
    function _ask(uint64 roundId, Round memory round, bytes32 hash, uint8 levels) internal {
        uint256 key = _key(roundId, round.attempt);
        Question storage asked = _questions[_place(key, hash, levels)];
        require(asked.asker == address(0), AlreadyDemanded(hash, levels));

        Hearing memory heard = _hearings[key];
        _enterPhase(roundId, round, heard);
        uint256 exponent = heard.units / Phases.UNITS_A_DOUBLING;
        uint256 price = _price(levels, exponent);
        require(msg.value >= price, WrongFee(msg.value, price));
        uint64 due = heard.closes + answerSeconds;
        // Nobody can pay the price of an exponent above 255, nor 2^104 wei, which is more than there is.
        // forge-lint: disable-next-line(unsafe-typecast)
        (asked.asker, asked.due, asked.exponent) = (msg.sender, due, uint8(exponent));
        // forge-lint: disable-next-line(unsafe-typecast)
        heard.fees += uint104(price);
        // forge-lint: disable-next-line(unsafe-typecast)
        heard.units += uint16(Phases.units(levels));
        heard.open += 1;
        _register(key, heard);
        _hearings[key] = heard;
        if (msg.value > price) _credit(msg.sender, msg.value - price);
        emit DataDemanded(roundId, hash, msg.sender, round.attempt, levels, due);
    }

    /// @dev Begins a phase with its first question: all that are asked until the window's present end belong to it.
    // slither-disable-next-line timestamp
    function _enterPhase(uint64 roundId, Round memory round, Hearing memory heard) private {
        // What is in the window was announced to all; a question after it would stretch what is over.
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= round.until, TooLateToAsk(roundId));
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp <= heard.closes) return;
        require(heard.phase < _phases(round), TooLateToAsk(roundId));
        heard.phase += 1;
        heard.units = 0;
        heard.closes = round.until;
        federation.extendChallenge(roundId, round.until + 2 * uint64(answerSeconds));
    }

    /// @dev Checks that preimages lead from a stated root down to a hash, of which so many levels may be asked for.
    function _requireLinked(Round memory round, bytes[] calldata path, bytes32 hash, uint8)
        internal
        view
        virtual
    {
        bytes32 root = path.length == 0 ? hash : keccak256(path[0]);
        require(
            root == round.aggregationRoot || root == round.aggregateRoot || root == round.modelRoot
                || (round.rolledUp && IRollups(federation.rollups()).isStated(root)),
            NotPartOf("proposal")
        );
        for (uint256 i = 0; i < path.length; ++i) {
            bytes32 next = i + 1 < path.length ? keccak256(path[i + 1]) : hash;
            require(Preimage.holds(path[i], next), NotPartOf("path"));
        }
    }

    function _phases(Round memory round) private view returns (uint256) {
        uint256 leaves = round.rolledUp ? IRollups(federation.rollups()).recordCount() : round.accepted;
        return Phases.count(leaves, elements);
    }

    function _price(uint8 levels, uint256 exponent) private view returns (uint256) {
        require(levels > 0 && levels <= Phases.LEVELS, WrongLevels(levels));
        return (demandFee * Phases.units(levels)) << exponent;
    }

    /// @dev Checks an answer level by level, and makes it known.
    function _requireAnswer(uint64 roundId, Answer calldata given) private {
        uint256 levels = given.levels;
        bytes[] calldata preimages = given.preimages;
        // A whole binary tree of so many levels, and what its last would lead to.
        bytes32[] memory hashes = new bytes32[](uint256(1) << levels);
        hashes[0] = given.hash;
        uint256 known = 1;
        uint256 next = 0;
        for (uint256 level = 1; level <= levels; ++level) {
            uint256 end = known;
            for (; next < end; ++next) {
                // One too few panics here.
                bytes calldata preimage = preimages[next];
                // Proofs take no preimage for one that is not given: nothing is no answer.
                require(
                    preimage.length > 0 && preimage.length <= MAX_PREIMAGE_BYTES
                        && keccak256(preimage) == hashes[next],
                    NotPartOf("answer")
                );
                emit DataGiven(roundId, preimage);
                if (level == levels) continue;
                (bytes32 left, bytes32 right) = Preimage.children(preimage);
                if (left != 0) hashes[known++] = left;
                if (right != 0) hashes[known++] = right;
            }
        }
        require(next == preimages.length, NotPartOf("answer"));
    }

    function _place(uint256 key, bytes32 hash, uint8 levels) private pure returns (bytes32) {
        return keccak256(abi.encode(key, hash, levels));
    }
}
